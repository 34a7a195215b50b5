# SPDX-License-Identifier: MIT
"""The include rule of the house: who may include whom, no cycles, no banned functions. Prints every breach; exit code 1 if any."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Lower layers know nothing of higher ones. A file belongs to the layer that has its folder, or its name up to a "_".
LAYERS = [
    {"lib"},
    {"event"},
    {"connector", "config", "broker", "net"},
    {"intake", "delivery"},
    {"admin"},
    {"bridge"},
    {"main"},
]
FOR_CONNECTORS = {"connector", "event", "net", "lib"}
BANNED = ["strcpy", "strcat", "strncpy", "strncat", "sprintf", "vsprintf", "strtok", "atoi", "atol", "atof", "gets", "alloca", "rand", "srand", "system"]


def part(path):
    """bridge/lib/str.h -> lib, bridge/event/json.c -> event"""
    pieces = path.split("/")
    return pieces[1] if len(pieces) > 2 else pieces[1].split(".")[0].split("_")[0]


def layer(path):
    for i, names in enumerate(LAYERS):
        if part(path) in names:
            return i
    return None


def code_of(text):
    """Without comments and the content of strings."""
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', " ", text, flags=re.S)


def includes_of(text):
    return re.findall(r'^#\s*include\s+"([^"]+)"', text, flags=re.M)


def breach_of_include(path, include):
    if not include.startswith(("bridge/", "connectors/")):
        return f'includes "{include}", not by its path from the root'
    if include.startswith("connectors/"):
        own = path.startswith("connectors/") and include.split("/")[1] == path.split("/")[1]
        return None if own else f"includes {include}: nothing includes a connector but itself"
    if layer(include) is None:
        return f"includes {include}, which belongs to no layer (name it in LAYERS)"
    if path.startswith("connectors/"):
        return None if part(include) in FOR_CONNECTORS else f"includes {include}, which is not for connectors"
    if layer(path) < layer(include):
        return f"includes {include}, which is of a higher layer"
    return None


def cycles(graph):
    """Headers that include themselves by way of others."""
    def reach(start):
        seen, todo = set(), list(graph.get(start, []))
        while todo:
            header = todo.pop()
            if header not in seen:
                seen.add(header)
                todo += graph.get(header, [])
        return seen
    return [header for header in graph if header in reach(header)]


def breaches_of(path, text):
    if path.startswith("bridge/") and layer(path) is None:
        yield "belongs to no layer (name it in LAYERS)"
        return
    for include in includes_of(text):
        breach = breach_of_include(path, include)
        if breach:
            yield breach
    if not text.startswith("/* SPDX-License-Identifier: MIT */\n/* "):
        yield "does not begin with the licence and a sentence"
    for name in re.findall(r"\b(%s)\s*\(" % "|".join(BANNED), code_of(text)):
        yield f"calls {name}, which is banned"


def check_itself():
    """The rule must be able to fail."""
    head = "/* SPDX-License-Identifier: MIT */\n/* x */\n"
    bad = [
        ("bridge/lib/str.c", '#include "bridge/event/event.h"'), ("bridge/event/event.c", '#include "bridge/config/config.h"'), ("bridge/intake/route.c", '#include "bridge/admin/admin.h"'),
        ("bridge/main.c", '#include "connectors/http/path.h"'), ("connectors/http/http.c", '#include "bridge/config/config.h"'),
        ("connectors/http/http.c", '#include "connectors/webhook/answer.h"'), ("bridge/event/event.c", '#include "event.h"'),
        ("bridge/event/event.c", "int f(void) { return atoi (x); }"), ("bridge/novelty.c", ""),
    ]
    good = [
        ("bridge/event/json.c", '#include "bridge/lib/str.h"'), ("bridge/main.c", '#include "bridge/bridge.h"'), ("bridge/event/event.c", '/* strcpy() */ f("atoi(");'),
        ("connectors/http/http.c", '#include "connectors/http/path.h"'), ("bridge/event/event.c", "brand(); my_system();"),
    ]
    for path, text in bad:
        assert list(breaches_of(path, head + text)), (path, text)
    for path, text in good:
        assert not list(breaches_of(path, head + text)), (path, text)
    assert list(breaches_of("bridge/event/event.c", "int x;"))
    assert sorted(cycles({"a": ["b"], "b": ["a"], "c": ["a"]})) == ["a", "b"]


def main():
    check_itself()
    graph, found, count = {}, 0, 0
    for file in sorted(file for folder in ("bridge", "connectors") for file in (ROOT / folder).rglob("*.[ch]")):
        path, text = file.relative_to(ROOT).as_posix(), file.read_text()
        count += 1
        if path.endswith(".h"):
            graph[path] = includes_of(text)
        for breach in breaches_of(path, text):
            print(f"{path}: {breach}")
            found += 1
    for header in cycles(graph):
        print(f"{header}: includes itself by way of others")
        found += 1
    print(f"{count} files, {found} breaches")
    return 1 if found or count < 10 else 0


sys.exit(main())
