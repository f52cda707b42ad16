"""A finished campaign as one zip: its results, the records of all they were made from, and RO-Crate metadata."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NoReturn

from bunchtrain import provenance, told, zips
from bunchtrain.config.campaign import load_campaign
from bunchtrain.course.events import again
from bunchtrain.dag import Plan
from bunchtrain.errors import InputError
from bunchtrain.files import as_json, atomic, sha256
from bunchtrain.origin import unpacked
from bunchtrain.origin.crate import METADATA, About, Content, metadata
from bunchtrain.origin.records import Records, key, together
from bunchtrain.provenance import Found, check_target, record_path

#: Data sets, which are left out unless all is asked for.
_DATA = (".h5", ".root")


def archive(
    file: Path, out: Path, *, everything: bool = False, partial: bool = False, licence: str | None = None
) -> None:
    """Write the archive of the campaign `file` to `out`, and check it as `bunchtrain verify` does.

    Parameters
    ----------
    file, out : path
        Campaign file, and zip file to write.
    everything : bool
        Data sets too, and the trainings of the scan.
    partial : bool
        Of a campaign that has not run to its end, take what is there.
    licence : str, optional
        Address of the licence of the results.

    Raises
    ------
    InputError
        If the campaign has not run to its end, or has run otherwise than the file says, or a file is not what its
        record says.
    CampaignError
        If the campaign file is none.
    """
    check_target(out, ".zip")
    plan = Plan(load_campaign(file).model_dump(mode="json", exclude_none=True), file)
    results = Path(plan.output)
    records = Records([results])
    _check_end(plan, file, partial)
    _check_settings(plan, file, records, partial)
    way = _way(plan, records, partial or everything)
    chosen = way if everything else [one for one in way if one.output.suffix not in _DATA]
    _check_records(plan, file, records, way, {key(one.output) for one in chosen})
    files: dict[str, bytes | Path] = {_name(results, one.output): one.output for one in chosen if one.output.exists()}
    known = {_name(results, one.output): one for one in way}
    files |= {_name(results, record_path(one.output)): record_path(one.output) for one in way}
    files["campaign.yaml"] = file
    files["campaign.json"] = as_json(plan.campaign.model_dump(mode="json")).encode()
    about = About(plan.campaign.name, _description(plan, partial, everything), licence)
    files[METADATA] = as_json(metadata(about, _contents(files), known)).encode()
    with atomic(out) as temporary:
        zips.write(temporary, files)
        unpacked.check(temporary)
    print(f"[archive] {out}: {len(files)} files, {out.stat().st_size / 1e6:.1f} MB, sha256 {sha256(out)}")


def _name(results: Path, path: Path) -> str:
    return f"results/{path.relative_to(results).as_posix()}"


def _description(plan: Plan, partial: bool, everything: bool) -> str:
    kept = "all that it made" if everything else "what it came to, without data sets"
    run = ", not run to its end" if partial else ""
    return f"The campaign {plan.campaign.name} of bunchtrain{run}: {kept}, and the records of all it was made from."


def _way(plan: Plan, records: Records, every: bool) -> list[Found]:
    """Return the records of what the chain ends in and of all below; of one run of a stage all or none."""
    if every:
        return records.found
    made = {key(one.output): one for one in records.found}
    return together(records.found, [made[key(Path(end))] for end in plan.ends()])


def _check_end(plan: Plan, file: Path, partial: bool) -> None:
    missing = [end for end in plan.ends() if not Path(end).exists() or not record_path(end).exists()]
    if missing and not partial:
        raise InputError(
            "the campaign has not run to its end",
            file=file,
            found=f"no {', no '.join(missing)}",
            mend=f"{again(Path(plan.output), file)}; or archive what is there with --partial",
        )


def _check_records(plan: Plan, file: Path, records: Records, way: list[Found], kept: set[str]) -> None:
    """Refuse results that are not what their records say; data that are not kept may be gone, and are not read."""
    changes = [*records.broken, *map(str, provenance.problems(way, lambda path: key(path) in kept))]
    if changes:
        raise InputError(
            "results are not what their records say",
            file=file,
            found="; ".join(changes[:5]) + (f"; {len(changes) - 5} more" if len(changes) > 5 else ""),
            mend=f"see bunchtrain provenance on the file; {again(Path(plan.output), file)} makes anew what is "
            "missing or made of other content, bunchtrain campaign rerun --stage what was made of a file that was only "
            "made again",
        )


def _check_settings(plan: Plan, file: Path, records: Records, partial: bool) -> None:
    """Refuse a campaign file that asks for something else than what was run; VERSIONs of stages do not count."""
    results, every = Path(plan.output), _way(plan, records, partial)
    for one in every:
        if differs := _otherwise(plan, one, one.output.relative_to(results).as_posix(), partial):
            _refuse(plan, file, differs, one.output)
    made = {key(one.output) for one in every}
    wanted = [*plan.converted(), *(f"{folder}/model.json" for folder in plan.trainings())]
    lacking = [name for name in wanted if key(Path(name)) not in made]
    if lacking and not partial:
        _refuse(plan, file, "nothing was made of", ", ".join(lacking[:5]))


def _otherwise(plan: Plan, one: Found, name: str, partial: bool) -> str | None:
    """Return what an output was made with that the campaign file says otherwise; None if all is as it says.

    What lies below a scan or a search is left out: their own settings count.
    """
    if (found := told.otherwise(plan, one, name)) is None:
        return None
    stage, keys = found
    if not keys:
        return None if partial else f"{stage}: not asked for"
    different = [key for key in keys if key != "version"]
    return f"{stage}: {', '.join(different)}" if different else None


def _refuse(plan: Plan, file: Path, differs: str, found: object) -> NoReturn:
    raise InputError(
        "the campaign file says otherwise than what was run",
        file=file,
        key=differs,
        found=found,
        mend=f"{again(Path(plan.output), file)}, or give the file that was run",
    )


def _contents(files: dict[str, bytes | Path]) -> dict[str, Content]:
    found: dict[str, Content] = {}
    for name, content in files.items():
        if isinstance(content, bytes):
            found[name] = Content(len(content), hashlib.sha256(content).hexdigest())
        else:
            found[name] = Content(content.stat().st_size, sha256(content))
    return found
