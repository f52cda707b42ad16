# What stands beside the training: simulated and converted as the samples are, joined in indices of their own.


rule index:
    input:
        lambda wildcards: PLAN.converted(PLAN.beside[wildcards.beside]),
    output:
        dataset=f"{PLAN.output}/{{beside}}/dataset.h5",
    log:
        f"{PLAN.output}/logs/index/{{beside}}.log",
    benchmark:
        f"{PLAN.output}/benchmarks/index/{{beside}}.tsv"
    conda:
        "../../envs/convert.yaml"
    threads: 1
    resources:
        mem_mb=grow(2000),
        runtime=grow(20),
    params:
        spec=spec("index"),
        shards=lambda wildcards: PLAN.shards(PLAN.beside[wildcards.beside]),
        out=subpath(output.dataset, parent=True),
    message:
        "index {wildcards.beside}"
    shell:
        "bunchtrain index --spec {params.spec:q} --out {params.out:q} -- {params.shards:q} 2>&1 | tee {log:q}"
