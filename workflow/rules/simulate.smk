rule simulate:
    output:
        f"{PLAN.output}/simulate/{{sample}}/{{shard}}.root",
    log:
        f"{PLAN.output}/logs/simulate/{{sample}}-{{shard}}.log",
    benchmark:
        f"{PLAN.output}/benchmarks/simulate/{{sample}}-{{shard}}.tsv"
    conda:
        "../../envs/simulate.yaml"
    threads: 1
    resources:
        mem_mb=grow(1500),
        runtime=grow(30),
    params:
        spec=spec("simulate"),
    message:
        "simulate {wildcards.sample} {wildcards.shard}"
    shell:
        "bunchtrain simulate --spec {params.spec:q} --out {output:q} 2>&1 | tee {log:q}"
