rule train:
    input:
        dataset=rules.prepare.output.dataset,
        scaler=rules.prepare.output.scaler,
        best=rules.scan.output.best,
    output:
        weights=f"{PLAN.output}/train/seed{{number}}/model.safetensors",
        card=f"{PLAN.output}/train/seed{{number}}/model.json",
        history=f"{PLAN.output}/train/seed{{number}}/history.json",
    log:
        f"{PLAN.output}/logs/train/seed{{number}}.log",
    benchmark:
        f"{PLAN.output}/benchmarks/train/seed{{number}}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: PLAN.campaign.train.ranks
    resources:
        # A cluster profile says mpi: "srun --mpi=pmix".
        mpi=LAUNCHER,
        tasks=PLAN.campaign.train.ranks,
        mem_mb=grow(1500 * PLAN.campaign.train.ranks),
        runtime=grow(240),
    params:
        spec=spec("train"),
        best=lambda wildcards, input: (
            ["--best", input.best] if "best" in input.keys() else []
        ),
        out=subpath(output.weights, parent=True),
    message:
        "train the best configuration, seed {wildcards.number}, on {resources.tasks} ranks"
    shell:
        "bunchtrain train --launcher {resources.mpi:q} --ranks {resources.tasks} --spec {params.spec:q}"
        " --dataset {input.dataset:q} --scaler {input.scaler:q} {params.best:q} --out {params.out:q} 2>&1"
        " | tee {log:q}"


use rule train as baseline with:
    input:
        dataset=rules.prepare.output.dataset,
        scaler=rules.prepare.output.scaler,
    output:
        weights=f"{PLAN.output}/train/baseline/model.safetensors",
        card=f"{PLAN.output}/train/baseline/model.json",
        history=f"{PLAN.output}/train/baseline/history.json",
    log:
        f"{PLAN.output}/logs/train/baseline.log",
    benchmark:
        f"{PLAN.output}/benchmarks/train/baseline.tsv"
    params:
        spec=spec("baseline"),
        best=[],
        out=subpath(output.weights, parent=True),
    message:
        "train the baseline on {resources.tasks} ranks"
