rule report:
    input:
        summary=rules.prepare.output.summary,
        scan=[
            rules.scan.output.table,
            rules.scan.output.best,
            rules.scan.output.front,
        ],
        history=expand(
            f"{PLAN.output}/train/seed{{number}}/history.json",
            number=range(PLAN.campaign.train.seeds),
        ),
        metrics=rules.evaluate.output.metrics,
        predictions=rules.evaluate.output.predictions,
        core=rules.synthesize.output.core if PLAN.core else [],
        synthesis=rules.synthesize.output.report if PLAN.core else [],
        candidates=expand(rules.candidate.output.figures, candidate=PLAN.candidates),
        search=rules.search.output.front if PLAN.searched else [],
        panels=[
            *([rules.systematics.output.summary] if PLAN.varied() else []),
            *([rules.sensitivity.output.summary] if PLAN.boxes() else []),
            *expand(rules.hunt.output.result, box=PLAN.boxes()),
        ],
        # By a function: of a list Snakemake hashes all files once for each of them.
        manifests=lambda wildcards: [
            path.removesuffix("h5") + "json" for path in PLAN.converted()
        ],
    output:
        page=report(
            f"{PLAN.output}/report.html",
            caption="../report/page.rst",
            category="Results",
        ),
    log:
        f"{PLAN.output}/logs/report.log",
    benchmark:
        f"{PLAN.output}/benchmarks/report.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=grow(2000),
        runtime=grow(20),
    params:
        spec=spec("report"),
        results=subpath(output.page, parent=True),
        manifests=[
            word
            for path in PLAN.shards(suffix=".json")
            for word in ("--manifest", path)
        ],
        histories=lambda wildcards, input: [
            word for path in input.history for word in ("--history", path)
        ],
        candidates=lambda wildcards, input: [
            word for path in input.candidates for word in ("--candidate", path)
        ],
        search=lambda wildcards, input: (
            ["--search", input.search] if PLAN.searched else []
        ),
        panels=lambda wildcards, input: [
            word for path in input.panels for word in ("--panels", path)
        ],
    message:
        "report"
    shell:
        "bunchtrain report --spec {params.spec:q} --results {params.results:q} {params.manifests:q} {params.histories:q}"
        " {params.candidates:q} {params.search:q} {params.panels:q} --out {output.page:q} 2>&1 | tee {log:q}"
