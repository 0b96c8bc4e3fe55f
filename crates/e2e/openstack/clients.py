"""OpenStack's clients, loaded once: each command runs in a fork of this process.

Each line of stdin is a command as a JSON object, `{"program", "arguments", "environment"}`; the answer
is a line of JSON, `{"status", "stdout", "stderr"}`.
"""

import json
import os
import sys
import tempfile
import traceback

import novaclient.shell
import novaclient.v2.shell  # noqa: F401
import openstack
import openstackclient.compute.v2.console  # noqa: F401
import openstackclient.compute.v2.server  # noqa: F401
import openstackclient.shell


def cli_openstack(arguments):
    return openstackclient.shell.main(arguments)


def cli_nova(arguments):
    return novaclient.shell.main(arguments)


def sdk(arguments):
    """`NAME ARGUMENT…`: a call of the SDK's compute proxy; a server goes by its name."""
    call, *rest = arguments
    version = os.environ.pop("OS_COMPUTE_API_VERSION", None)
    compute = openstack.connect(compute_default_microversion=version).compute
    if call != "validate_console_auth_token":
        rest[0] = compute.find_server(rest[0], ignore_missing=False)
    print(json.dumps(getattr(compute, call)(*rest)))


PROGRAMS = {"openstack": cli_openstack, "nova": cli_nova, "sdk": sdk}


def run(program, arguments, environment, output, errors):
    os.environ.update(environment)
    os.dup2(output.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    try:
        status = PROGRAMS[program](arguments)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


def answer(wish):
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            run(wish["program"], wish["arguments"], wish["environment"], output, errors)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return {"status": status, "stdout": texts[0], "stderr": texts[1]}


for name in [name for name in os.environ if name.startswith("OS_")]:
    del os.environ[name]
print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
