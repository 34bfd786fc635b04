#!/usr/bin/env python3
"""Take the part of GitHub's GraphQL schema that fleetcheck uses, to hold its requests to it.

usage: github-graphql.py schema.graphql > tests/contract/checks.graphql

schema.graphql is that of the npm package @octokit/graphql-schema. Inputs are taken whole, with
everything that they reach; of the types that answers are made of, the fields that are plain values.
"""
import re
import sys

MUTATIONS = ("createCheckRun", "updateCheckRun", "createCommitOnBranch", "updateRefs",
             "enablePullRequestAutoMerge")


def definitions(text):
    """Every definition by its name, without descriptions."""
    text = re.sub(r'"""(?:.|\n)*?"""', "", text)
    text = re.sub(r'^\s*"(?:[^"\\]|\\.)*"\s*$', "", text, flags=re.M)
    found = {}
    for match in re.finditer(r"^(scalar|enum|input|type|interface|union) (\w+)([^{\n]*)(\{(?:.|\n)*?^\})?",
                             text, flags=re.M):
        kind, name, _, body = match.groups()
        lines = [line.strip() for line in (body or "").splitlines()[1:-1]]
        found[name] = (kind, " ".join(line for line in lines if line))
    return found


def fields(body):
    """Fields as (name, arguments, type)."""
    pattern = r"(\w+)(?:\s*\(((?:[^()]|\([^()]*\))*)\))?\s*:\s*([\[\]!\w]+)(?:\s*=\s*\S+)?(?:\s*@\w+(?:\([^)]*\))?)*"
    return re.findall(pattern, body)


def bare(kind):
    return re.sub(r"[\[\]!]", "", kind)


def main(source):
    with open(source, encoding="utf-8") as file:
        known = definitions(file.read())
    plain = {"Int", "Float", "String", "Boolean", "ID"}
    out, todo, done = {}, [], set(plain)

    def want(kind):
        if bare(kind) not in done:
            done.add(bare(kind))
            todo.append(bare(kind))

    mutation = []
    for name, arguments, kind in fields(known["Mutation"][1]):
        if name in MUTATIONS:
            arguments = fields(arguments)
            mutation.append(f"  {name}({', '.join(f'{a}: {k}' for a, _, k in arguments)}): {kind}")
            for it in [kind] + [k for _, _, k in arguments]:
                want(it)
    while todo:
        name = todo.pop(0)
        kind, body = known[name]
        if kind == "scalar":
            out[name] = f"scalar {name}"
        elif kind == "enum":
            values = re.sub(r"@\w+(?:\([^)]*\))?", "", body).split()
            out[name] = "\n".join([f"enum {name} {{", *(f"  {it}" for it in values), "}"])
        else:
            lines = []
            for field, arguments, of in fields(body):
                is_plain = bare(of) in plain or known.get(bare(of), ("",))[0] in ("scalar", "enum")
                if kind == "input" or (is_plain and not arguments) or name.endswith("Payload"):
                    lines.append(f"  {field}: {of}")
                    want(of)
            out[name] = "\n".join([f"{kind} {name} {{", *lines, "}"])
    print("# Made by tests/contract/github-graphql.py from GitHub's published schema")
    print("# (npm @octokit/graphql-schema, MIT). Not to be changed by hand.\n")
    print("type Mutation {\n" + "\n".join(mutation) + "\n}")
    for name in sorted(out):
        print("\n" + out[name])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
