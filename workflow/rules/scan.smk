rule scan:
    input:
        dataset=rules.prepare.output.dataset,
        scaler=rules.prepare.output.scaler,
        earlier=PLAN.campaign.scan.warm_start,
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
    threads: PLAN.campaign.scan.parallel * PLAN.campaign.scan.ranks
    resources:
        **PLAN.scan_nodes(),
        # On each node: the search, and the ranks of all evaluations there.
        mem_mb=grow(
            1000 + 1500 * PLAN.campaign.scan.per_node * PLAN.campaign.scan.ranks
        ),
        runtime=grow(240),
    params:
        spec=spec("scan"),
        out=subpath(output.best, parent=True),
    message:
        "scan hyperparameters"
    shell:
        "bunchtrain scan --spec {params.spec:q} --dataset {input.dataset:q} --scaler {input.scaler:q}"
        " --out {params.out:q} --cores {threads} 2>&1 | tee {log:q}"
