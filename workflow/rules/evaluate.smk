rule evaluate:
    input:
        dataset=rules.prepare.output.dataset,
        weights=expand(
            f"{PLAN.output}/train/seed{{number}}/model.safetensors",
            number=range(PLAN.campaign.train.seeds),
        ),
        cards=expand(
            f"{PLAN.output}/train/seed{{number}}/model.json",
            number=range(PLAN.campaign.train.seeds),
        ),
        baseline=(
            [rules.baseline.output.weights, rules.baseline.output.card]
            if PLAN.baseline()
            else []
        ),
        unfamiliar=PLAN.unfamiliar().values(),
    output:
        metrics=f"{PLAN.output}/evaluate/metrics.json",
        predictions=f"{PLAN.output}/evaluate/predictions.h5",
    log:
        f"{PLAN.output}/logs/evaluate.log",
    benchmark:
        f"{PLAN.output}/benchmarks/evaluate.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=grow(60),
    params:
        spec=spec("evaluate"),
        trainings=PLAN.trainings(),
        baseline=["--baseline", PLAN.baseline()] if PLAN.baseline() else [],
        unfamiliar=UNFAMILIAR,
        out=subpath(output.metrics, parent=True),
    message:
        "evaluate accuracy and uncertainty"
    shell:
        "bunchtrain evaluate --spec {params.spec:q} --dataset {input.dataset:q} --out {params.out:q}"
        " --threads {threads} {params.baseline:q} {params.unfamiliar:q} -- {params.trainings:q} 2>&1 | tee {log:q}"
