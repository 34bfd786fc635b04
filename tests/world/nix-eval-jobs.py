#!/usr/bin/env python3
"""A nix-eval-jobs for tests, which Debian has not: it takes the same arguments, prints the same lines
and ends the same ways.

It evaluates with the nix beside it, a process for each attribute. A file `mode` beside it says what
goes wrong; the arguments of every run are noted in a file `ran`, a line of JSON each.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(sys.argv[0]).absolute().parent
TAKES = {
    "--apply": 1, "--expr": 0, "--extra-experimental-features": 1, "--flake": 0,
    "--max-memory-size": 1, "--option": 2, "--select": 1, "--workers": 1,
}


def fail(message):
    sys.stderr.write(f"error: {message}\n")
    sys.exit(1)


def read_arguments(arguments):
    """What each option was given, what nix is told too, and the flake or expression."""
    options, passed, rest = {}, [], []
    while arguments:
        name = arguments.pop(0)
        if not name.startswith("-"):
            rest.append(name)
            continue
        if name not in TAKES:
            fail(f"unrecognised flag '{name}'")
        values = [arguments.pop(0) for _ in range(TAKES[name])]
        options[name] = values
        if name in ("--option", "--extra-experimental-features"):
            passed += [name, *values]
    if len(rest) != 1:
        fail("no expression specified")
    return options, passed, rest[0]


def nix(passed, expression):
    """The value, or None and why; what is said meanwhile goes to stderr, as a worker's does."""
    command = [HERE / "nix", "eval", "--json", *passed, "--expr", expression]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    sys.stderr.write(ended.stderr)
    sys.stderr.flush()
    return (json.loads(ended.stdout), "") if ended.returncode == 0 else (None, ended.stderr)


def string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def say(line):
    print(json.dumps(line) if isinstance(line, dict) else line, flush=True)


def job(name, apply):
    """What a line says of a derivation; null of anything else."""
    return f"""
      let v = (root).{string(name)}; in
      if (v.type or null) != "derivation" then null else {{
        attr = {string(name)};
        attrPath = [ {string(name)} ];
        inherit (v) name system drvPath;
        outputs = builtins.listToAttrs
          (map (n: {{ name = n; value = v.${{n}}.outPath; }}) (v.outputs or [ "out" ]));
        extraValue = ({apply}) v;
      }}"""


def main():
    with open(HERE / "ran", "a", encoding="utf-8") as ran:
        ran.write(json.dumps(sys.argv[1:]) + "\n")
    options, passed, of = read_arguments(sys.argv[1:])
    is_flake = "--flake" in options
    told = (HERE / "mode").read_text(encoding="utf-8") if (HERE / "mode").exists() else ""
    mode, *about = told.split() or [""]
    if mode == "mute":
        fail("cannot open the store")
    if mode == "version" and not is_flake:
        return say({"attr": f'"{about[0]}"', "attrPath": about, "error": "error: asked"})
    if mode == "refuses" and is_flake:
        fail("unrecognised flag '--select'")
    if mode == "garbage":
        for line in ["no JSON", "", '{"attr":"a999","attrPath":["a999"]}', '{"attrPath":7}', "[]",
                     '{"attr":"a0.x","attrPath":["a0","x"],"error":"of another depth"}',
                     '{"attr":"a0","attrPath":["a0"],"extraValue":{"s":1}}']:
            say(line)
    top = f"builtins.getFlake {string(of)}" if is_flake else of
    root = f"let root = ({options['--select'][0]}) ({top}); in "
    names, why = nix(passed, root + "builtins.attrNames root")
    if names is None:
        fail(f"worker error: {why}")
    for name in sorted(names):
        if about == [name]:
            if mode == "silent":
                continue
            if mode == "killed":
                fail(f"while evaluating '{name}', evaluation worker got killed by SIGKILL, maybe memory limit reached?")
            if mode == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            if mode == "hangs":
                time.sleep(600)
        found, why = nix(passed, root + job(name, options["--apply"][0]))
        if found is not None:
            say(found)
        elif why:
            say({"attr": name, "attrPath": [name], "error": why})


main()
