"""What the person who started a gateway is told first: keys that work, and a request that works as it stands."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from trimtab.controlplane.registry import Workspace
from trimtab.core.keys import hash_key


def hints(workspace: Workspace, url: str) -> list[str]:
    """Lines for the person who started it: the demo keys, and a first request that works as it stands."""
    tenancy = workspace.snapshot.tenancy
    demo = [
        (f"tt-demo-{tenant}", f"{tenant}/{entry.key.default_channel or ''}")
        for tenant in tenancy.tenants
        if tenancy.demo and (entry := tenancy.keys.get(hash_key(f"tt-demo-{tenant}"))) is not None
    ]
    if not demo:
        return [f"Make a key:  {_command()} keys create --workspace {workspace.folder} --tenant TENANT --name NAME"]
    width = max(len(key) for key, _ in demo)
    lines = ["", "Demo keys (this machine only):", *(f"  {key.ljust(width)}  {channel}" for key, channel in demo)]
    question = "How long does standard delivery take?"  # one that the example's pages answer
    body = f'{{"messages": [{{"role": "user", "content": "{question}"}}]}}'
    lines += [
        "",
        "Try it:",
        f"  curl -i {url}/v1/chat/completions -H 'Authorization: Bearer {demo[0][0]}' \\",
        f"    -H 'Content-Type: application/json' -d '{body}'",
        "",
        f"Then see why:  {_command()} explain last --workspace {workspace.folder}",
        "Stop: Ctrl-C",
    ]
    return lines


def _command() -> str:
    """The command line as the person who started us can call it from where they did."""
    if shutil.which("trimtab"):
        return "trimtab"
    program = Path(sys.executable).with_name("trimtab")
    return str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)
