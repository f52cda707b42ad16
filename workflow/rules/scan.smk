rule scan:
    input:
        dataset=rules.prepare.output.dataset,
        scaler=rules.prepare.output.scaler,
    output:
        table=f"{PLAN.output}/scan/results.csv",
        best=f"{PLAN.output}/scan/best.json",
        front=f"{PLAN.output}/scan/front.json",
    log:
        f"{PLAN.output}/logs/scan.log",
    benchmark:
        f"{PLAN.output}/benchmarks/scan.tsv"
    conda:
        "../../envs/scan.yaml"
    threads: PLAN.campaign.scan.parallel
    resources:
        mem_mb=grow(4000),
        runtime=240,
    params:
        spec=spec("scan"),
        out=subpath(output.best, parent=True),
    message:
        "scan hyperparameters"
    shell:
        "bunchtrain scan --spec {params.spec:q} --dataset {input.dataset:q} --scaler {input.scaler:q}"
        " --out {params.out:q} 2>&1 | tee {log:q}"
