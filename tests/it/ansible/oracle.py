"""Answers many questions to the real ansible-inventory in one process: starting it costs more than asking it.

Reads a JSON list of {"directory": ..., "arguments": [...]} from standard input, runs each in an empty folder inside the
directory, and writes a JSON list of {"status": ..., "stdout": ..., "stderr": ...}.
"""

import contextlib
import io
import json
import os
import sys
import warnings

warnings.simplefilter("ignore")
ANSWERS = sys.stdout
CONFIG = os.path.join(sys.argv[1], "ansible.cfg")
open(CONFIG, "w").close()
# Before anything of ansible is imported: it reads these once.
os.environ.update(
    ANSIBLE_HOME=os.path.join(sys.argv[1], "home"),
    ANSIBLE_CONFIG=CONFIG,
    # Where it would go on without hosts, it shall fail.
    ANSIBLE_INVENTORY_UNPARSED_FAILED="1",
    ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="1",
    ANSIBLE_HOST_PATTERN_MISMATCH="error",
    ANSIBLE_LOCALHOST_WARNING="0",
    ANSIBLE_DEPRECATION_WARNINGS="0",
    ANSIBLE_NOCOLOR="1",
    LC_ALL="C.UTF-8",
)

from ansible.cli.inventory import InventoryCLI  # noqa: E402
from ansible.parsing.vault import VaultSecretsContext  # noqa: E402
from ansible.plugins.vars import host_group_vars  # noqa: E402
from ansible.release import __version__  # noqa: E402
from ansible.utils.context_objects import GlobalCLIArgs  # noqa: E402


def ask(question):
    os.chdir(os.path.join(question["directory"], "empty"))
    # What one run keeps must not reach the next.
    GlobalCLIArgs._Singleton__instance = None
    VaultSecretsContext._current = None
    for kept in (host_group_vars.FOUND, host_group_vars.CANONICAL_PATHS, host_group_vars.NAK):
        kept.clear()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli = InventoryCLI(["ansible-inventory", *question["arguments"]])
            cli.parse()
            status = cli.run() or 0
        except SystemExit as exit:
            status = exit.code if isinstance(exit.code, int) else 1
        except BaseException as error:
            print(error, file=err)
            status = 250
    return {"status": status, "stdout": out.getvalue(), "stderr": err.getvalue()}


def main():
    questions = json.load(sys.stdin)
    json.dump({"version": __version__, "answers": [ask(question) for question in questions]}, ANSWERS)


main()
