# What may be otherwise: a job for each variation, and what they come to.


rule vary:
    input:
        dataset=lambda wildcards: PLAN.varied_dataset(**wildcards),
        weights=f"{PLAN.output}/train/seed0/model.safetensors",
        card=f"{PLAN.output}/train/seed0/model.json",
    output:
        metrics=f"{PLAN.output}/systematics/{{source}}/{{variation}}/metrics.json",
        predictions=f"{PLAN.output}/systematics/{{source}}/{{variation}}/predictions.h5",
    log:
        f"{PLAN.output}/logs/systematics/{{source}}/{{variation}}.log",
    benchmark:
        f"{PLAN.output}/benchmarks/systematics/{{source}}/{{variation}}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=grow(60),
    params:
        spec=spec("vary"),
        model=subpath(input.weights, parent=True),
        out=subpath(output.metrics, parent=True),
    message:
        "vary {wildcards.source} {wildcards.variation}"
    shell:
        "bunchtrain vary --spec {params.spec:q} --model {params.model:q} --dataset {input.dataset:q} --out {params.out:q}"
        " --threads {threads} 2>&1 | tee {log:q}"


rule systematics:
    input:
        metrics=rules.evaluate.output.metrics,
        predictions=rules.evaluate.output.predictions,
        varied=[
            f"{folder}/{name}"
            for folder in PLAN.varied()
            for name in ("metrics.json", "predictions.h5")
        ],
    output:
        summary=f"{PLAN.output}/systematics/summary.json",
    log:
        f"{PLAN.output}/logs/systematics.log",
    benchmark:
        f"{PLAN.output}/benchmarks/systematics.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=grow(60),
    params:
        spec=spec("systematics"),
        nominal=subpath(input.metrics, parent=True),
        variations=PLAN.varied(),
    message:
        "join the systematic variations"
    shell:
        "bunchtrain systematics --spec {params.spec:q} --nominal {params.nominal:q} --out {output.summary:q}"
        " -- {params.variations:q} 2>&1 | tee {log:q}"
