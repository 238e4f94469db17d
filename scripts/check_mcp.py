"""The official MCP clients in a whole round with a live hub: list tools, run, evaluate, share, read.

    python check_mcp.py AAR MODULES

Starts `AAR hub serve` on a study of its own, mints tokens as its owner would, and ends with it.
Needs the package `mcp`, Node.js, and in MODULES the npm package `@modelcontextprotocol/sdk`.
"""

import asyncio
import pathlib
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

from mcp import Client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

METHOD = {
    "method.toml": 'name = "visitor"\nfamily = "other"\nsummary = "As vanilla."\n'
    'command = ["aar-lab", "run", "recipe.toml"]\nclaims_teacher = true\n',
    "recipe.toml": 'summary = "As vanilla, on the last layer."\n',
}


def serve(aar, home):
    """The running server, its run directory and the address of its MCP."""
    run = home / "run"
    study = home / "study.toml"
    study.write_text('name = "visited"\nminutes = 3\nresearchers = 2\ntransfer = []\nreplication_seeds = 4\n')
    server = subprocess.Popen(
        [aar, "hub", "serve", str(study), "--run", str(run)], stderr=subprocess.PIPE, text=True
    )
    for line in server.stderr:
        print("  " + line, end="")
        if "MCP at " in line:
            return server, run, line.split("MCP at ")[1].split(",")[0].strip()
    raise SystemExit(f"the server ended with {server.wait()} before it served MCP")


async def round_trip(url, token):
    http = create_mcp_http_client(headers={"Authorization": f"Bearer {token}"})
    async with Client(streamable_http_client(url, http_client=http)) as client:
        assert client.server_info.name == "aar", client.server_info
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert {"run_experiment", "evaluate", "share_finding", "read_finding"} <= tools, tools
        print("  protocol", client.protocol_version)

        async def call(name, **arguments):
            result = await client.call_tool(name, arguments)
            text = result.content[0].text
            assert not result.is_error, f"{name}: {text}"
            return text

        said = await call("run_experiment", method={"files": METHOD}, trial_rows=400)
        experiment = int(said.split()[1])
        said = await call("status", experiment=experiment, wait_seconds=60)
        assert "ended well" in said, said
        said = await call("evaluate", method={"files": METHOD})
        evaluation = int(said.split()[1])
        said = await call("status", evaluation=evaluation, wait_seconds=120)
        assert "dev PGR" in said, said
        print(" ", said)
        said = await call(
            "share_finding", kind="result", title="as vanilla", text="nothing new", evaluation=evaluation
        )
        finding = int(said.split()[1])
        said = await call("read_finding", id=finding)
        assert "| nothing new" in said and "dev PGR" in said, said
        wrong = await client.call_tool("bash", {"command": "id"})
        assert wrong.is_error, wrong


def refused(url, token):
    """Whoever has no good token gets no answer."""
    request = urllib.request.Request(url, data=b"{}", headers={"Authorization": f"Bearer {token}"})
    try:
        urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        assert error.code == 401, error
    else:
        raise SystemExit("a bad token was let in")
    try:
        asyncio.run(round_trip(url, token))
    except Exception:  # noqa: BLE001 - the client wraps what the server said in groups of its own
        return
    raise SystemExit("a bad token was let in")


def minted(aar, run, name):
    mint = [aar, "token", str(run), "--researcher", name, "--minutes", "30"]
    return subprocess.run(mint, check=True, capture_output=True, text=True).stdout.strip()


def main():
    aar, modules = sys.argv[1:]
    script = pathlib.Path(__file__).with_name("check_mcp.mjs")
    with tempfile.TemporaryDirectory() as home:
        server, run, url = serve(aar, pathlib.Path(home))
        try:
            asyncio.run(round_trip(url, minted(aar, run, "guest")))
            print("the official Python MCP client: a whole round")
            token = minted(aar, run, "another-guest")
            subprocess.run(["node", script, pathlib.Path(modules).absolute(), url, token], check=True)
            refused(url, "0" * 64)
        finally:
            server.kill()
            server.wait()


main()
