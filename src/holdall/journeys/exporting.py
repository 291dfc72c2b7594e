"""Showing apps on the host: bringing the exported files of an app to what its active deployment says."""

from holdall.journeys.host import Host, Report
from holdall.model.ref import Ref


def reconcile(host: Host, ref: Ref, report: Report) -> None:
    """Make what the host shows of `ref.id` follow the active deployments of that app."""
