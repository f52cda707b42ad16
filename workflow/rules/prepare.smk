rule prepare:
    input:
        PLAN.converted(),
    output:
        dataset=f"{PLAN.output}/prepare/dataset.h5",
        scaler=f"{PLAN.output}/prepare/scaler.json",
        summary=f"{PLAN.output}/prepare/summary.json",
    log:
        f"{PLAN.output}/logs/prepare.log",
    benchmark:
        f"{PLAN.output}/benchmarks/prepare.tsv"
    conda:
        "../../envs/convert.yaml"
    threads: 2
    resources:
        mem_mb=grow(4000),
        runtime=grow(30),
    params:
        spec=spec("prepare"),
        shards=PLAN.shards(),
        out=subpath(output.dataset, parent=True),
    message:
        "prepare splits, scaler and index"
    shell:
        "bunchtrain prepare --spec {params.spec:q} --out {params.out:q} --threads {threads} -- {params.shards:q}"
        " 2>&1 | tee {log:q}"
