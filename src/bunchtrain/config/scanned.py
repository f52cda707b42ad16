"""Whether what a scan looks for can be had: its objectives, their limits, the rungs, and the student in its space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bunchtrain.config import literals, points
from bunchtrain.config.candidates import varied
from bunchtrain.config.objectives import NAMES, OF_CORE
from bunchtrain.config.synthesize import Student
from bunchtrain.errors import CampaignError

if TYPE_CHECKING:
    from bunchtrain.config.campaign import Campaign

STUDENT = "scan.space.student"


def check_scan(campaign: Campaign, file: str | Path) -> None:
    """Check what the scan looks for, and when it stops.

    Raises
    ------
    CampaignError
        Naming the key.
    """
    _check_limits(campaign, file)
    _check_halving(campaign, file)
    wanted = [name for name in campaign.scan.objectives if name in OF_CORE]
    if wanted and "graph" not in literals.wanted(campaign.task.kind):
        raise CampaignError(
            f"a student answers for whole jets, and the task {campaign.task.kind} asks for no such answer",
            file=file,
            key="scan.objective",
            found=wanted[0],
            choices=[name for name in NAMES if name not in OF_CORE],
        )
    _check_student(campaign, wanted, file)


def _check_limits(campaign: Campaign, file: str | Path) -> None:
    """Check that limits and working point belong to what is looked for."""
    scan = campaign.scan
    for name, limit in scan.limits.items():
        if name not in scan.objectives:
            raise CampaignError(
                "a limit of what the scan does not look for",
                file=file,
                key=f"scan.limits.{name}",
                found=limit,
                expected=f"limits of {', '.join(scan.objectives)}",
                mend=f"take it out, or add {name} to scan.objective",
            )
    if scan.working_point is not None and "rejection" not in scan.objectives:
        raise CampaignError(
            "the working point belongs to the objective rejection, which the scan does not look for",
            file=file,
            key="scan.working_point",
            found=scan.working_point,
            mend="take it out, or add rejection to scan.objective",
        )


def _check_halving(campaign: Campaign, file: str | Path) -> None:
    """Check that there is a rung below the last epoch, and no first rung without halving."""
    scan = campaign.scan
    if scan.halving is None and scan.first_epochs != type(scan).model_fields["first_epochs"].default:
        problem, mend = "without halving there is no first rung", "set scan.halving, e.g. to 3, or take the key out"
        raise CampaignError(problem, file=file, key="scan.first_epochs", found=scan.first_epochs, mend=mend)
    if scan.halving is not None and not scan.rungs:
        raise CampaignError(
            "no evaluation could end early: the first rung is not below the epochs of an evaluation",
            file=file,
            key="scan.first_epochs",
            found=scan.first_epochs,
            expected=f"less than scan.epochs, which is {scan.epochs}",
            mend="raise scan.epochs, lower scan.first_epochs, or set scan.halving to null",
        )


def _check_student(campaign: Campaign, wanted: Sequence[str], file: str | Path) -> None:
    """Check that a student in the space is judged, that nothing else searches for one, and that its keys fit."""
    names = [name for name in campaign.scan.space if name.startswith("student.")]
    if not names:
        return
    key = f"scan.space.{names[0]}"
    if not wanted:
        raise CampaignError(
            "the scan varies the student, of which no objective says anything",
            file=file,
            key=key,
            found=", ".join(campaign.scan.objectives),
            expected=f"one of {', '.join(sorted(OF_CORE))} in scan.objective",
        )
    for other, there in (("candidates", campaign.synthesize.candidates), ("search", campaign.synthesize.search)):
        if there:
            raise CampaignError(
                "the scan varies the student, and so does another key",
                file=file,
                key=key,
                found=f"synthesize.{other}",
                expected="one place in which students are varied",
                mend=f"take synthesize.{other} or the keys student.* out",
            )
    for _ in students(campaign, file):
        pass  # each is checked as it is made


def students(campaign: Campaign, file: str | Path) -> Iterator[tuple[str, Any, Student]]:
    """Yield students at the ends of every dimension of the scan that is the student's: key, value, student.

    Raises
    ------
    CampaignError
        If a student has no such key, or does not take such a value.
    """
    for name, dimension in campaign.scan.space.items():
        head, _, key = name.partition(".")
        if head != "student":
            continue
        for value in points.ends(dimension):
            yield name, value, varied(campaign.synthesize.student, {key: value}, file, STUDENT)
