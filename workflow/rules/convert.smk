rule convert:
    input:
        ready(lambda wildcards: PLAN.files(wildcards.sample, wildcards.group)),
    output:
        events=f"{PLAN.output}/convert/{{sample}}/{{group}}.h5",
        manifest=f"{PLAN.output}/convert/{{sample}}/{{group}}.json",
    log:
        f"{PLAN.output}/logs/convert/{{sample}}-{{group}}.log",
    benchmark:
        f"{PLAN.output}/benchmarks/convert/{{sample}}-{{group}}.tsv"
    conda:
        "../../envs/convert.yaml"
    threads: 1
    resources:
        mem_mb=grow(2000),
        runtime=grow(30),
    params:
        spec=spec("convert"),
        digests=ready(lambda wildcards: PLAN.digests(wildcards.sample, wildcards.group)),
        part=ready(lambda wildcards: PLAN.part(wildcards.sample, wildcards.group)),
        remote=ready(lambda wildcards: PLAN.remote(wildcards.sample, wildcards.group)),
    message:
        "convert {wildcards.sample} {wildcards.group}"
    shell:
        "bunchtrain convert --spec {params.spec:q} --out {output.events:q} --manifest {output.manifest:q}"
        " --part {params.part:q} -- {input:q} {params.remote:q} 2>&1 | tee {log:q}"
