# SPDX-License-Identifier: MIT
"""The rules of the house: who may include or call whom, no circles, short functions, no banned names.

Prints every breach; exit code 1 if there is any. `house.py --figures` prints what it measured.

A room is a .c file together with its .h; a folder's private.h is a room of its own. An arrow A -> B is an #include of B's
header or the use of a function that B alone defines. Layers are folders: a room may have arrows only to its own folder and
to layers below. A circle is a loop of arrows; halves of one module that share a private.h may form one.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# From the ground up. A folder's name stands for all that lies in it; folders of one layer do not know each other.
LAYERS = [
    ["bridge/lib"],
    ["bridge/event", "bridge/auth"],
    ["bridge/map"],
    ["bridge/connector", "bridge/command"],
    ["bridge/net"],
    ["bridge/broker"],
    ["bridge/verify"],
    ["bridge/config"],
    ["connectors"],
    ["bridge/intake", "bridge/delivery"],
    ["bridge/admin"],
    ["bridge/engine", "bridge/signals", "bridge/dry", "bridge/topics", "bridge/version"],
    ["bridge/worker"],
    ["bridge/engines"],
    ["bridge/answers"],
    ["bridge/reload"],
    ["bridge/bridge"],
    ["bridge/cli"],
    ["bridge/main"],
]
# A connector knows the contract and the tools, nothing else that stands below it, and nothing of its neighbours.
FOR_CONNECTORS = ["bridge/connector", "bridge/command", "bridge/event", "bridge/auth", "bridge/map", "bridge/net",
                  "bridge/verify", "bridge/lib"]
# Hands the tables of all connectors on; the only room that knows them, and known by main alone.
REGISTRY = "connectors/connectors"

LONGEST_FUNCTION = 45
MOST_COMPLEX_FUNCTION = 25

# What still stands in the way; each entry must be a breach today, so that the list can only get shorter.
STILL = [
]

BANNED = ["strcpy", "strcat", "strncpy", "strncat", "sprintf", "vsprintf", "strtok", "atoi", "atol", "atof", "gets", "alloca",
          "rand", "srand", "system"]


def within(path, folder):
    return path == folder or path.startswith(folder + "/") or path.startswith(folder + ".")


def layer(path):
    for height, folders in enumerate(LAYERS):
        for folder in folders:
            if within(path, folder):
                return height, folder
    return None, None


def room(path):
    return path.rsplit(".", 1)[0]


def code_of(text):
    """Without comments, the content of strings, attributes, and #include lines."""
    text = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
                  lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)
    text = re.sub(r"__attribute__\(\([^;{}]*?\)\) ?", "", text)
    return re.sub(r"^#\s*include.*$", "", text, flags=re.M)


def includes_of(text):
    return re.findall(r'^#\s*include\s+"([^"]+)"', text, flags=re.M)


def functions_of(code):
    """(name, is static, first line, lines, complexity) of each function; bodies begin with { in the first column."""
    for m in re.finditer(r"^([A-Za-z_][^;{}#]*?\b(\w+)\([^;{}]*\)[^;{}()]*)\n\{\n(.*?)^\}", code, flags=re.M | re.S):
        first = code.count("\n", 0, m.start()) + 1
        lines = m.group(0).count("\n") + 1
        complexity = 1 + len(re.findall(r"\b(?:if|for|while|case)\b|&&|\|\||\?", m.group(3)))
        name = m.group(2)
        if name.isupper():          # TEST(name)
            continue
        yield name, bool(re.match(r"static\b", m.group(1))), first, lines, complexity


def arrows_of(tree):
    """{room: {room it has an arrow to: the include or a name}}"""
    defined, ambiguous = {}, set()
    for path, text in tree.items():
        if path.endswith(".c"):
            for name, static, *_ in functions_of(code_of(text)):
                if static:
                    continue
                if defined.get(name, room(path)) != room(path):
                    ambiguous.add(name)
                defined[name] = room(path)
    arrows = {room(path): {} for path in tree}
    for path, text in tree.items():
        mine = arrows[room(path)]
        for include in includes_of(text):
            if room(include) != room(path) and include in tree:
                mine.setdefault(room(include), f'#include "{include}"')
        if path.endswith(".c"):
            code = code_of(text)
            own = {name for name, *_ in functions_of(code)}     # a static function may bear a name of another room
            for word in set(re.findall(r"\b[a-z_][a-z0-9_]+\b", code)) - own:
                if word in defined and word not in ambiguous and defined[word] != room(path):
                    mine.setdefault(defined[word], word)
    return arrows


def breach_of_arrow(at, to):
    """Why room `at` may not have an arrow to room `to`, or None."""
    height, folder = layer(at)
    if within(at, "connectors"):
        if at == REGISTRY:
            return None if within(to, "bridge/connector") else "the registry of connectors needs the contract alone"
        if within(to, "connectors"):
            return None if to.split("/")[1] == at.split("/")[1] else "a connector does not know its neighbours"
        return None if any(within(to, allowed) for allowed in FOR_CONNECTORS) else "that is not for connectors"
    if within(to, "connectors"):
        return None if (at, to) == ("bridge/main", REGISTRY) else "nothing knows a connector"
    below, other = layer(to)
    if folder == other or below is None or below < height:
        return None
    return "that stands above it" if below > height else "folders of one layer do not know each other"


def circles_of(arrows):
    """Strongly connected rooms (Tarjan), the smallest first."""
    index, low, stack, on, found = {}, {}, [], set(), []

    def visit(start):
        work = [(start, iter(sorted(arrows.get(start, ()))))]
        index[start] = low[start] = len(index)
        stack.append(start)
        on.add(start)
        while work:
            node, rest = work[-1]
            for to in rest:
                if to not in index:
                    index[to] = low[to] = len(index)
                    stack.append(to)
                    on.add(to)
                    work.append((to, iter(sorted(arrows.get(to, ())))))
                    break
                if to in on:
                    low[node] = min(low[node], index[to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    ring = []
                    while True:
                        ring.append(stack.pop())
                        on.discard(ring[-1])
                        if ring[-1] == node:
                            break
                    if len(ring) > 1:
                        found.append(sorted(ring))
    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return sorted(found, key=len)


def is_one_module(ring, tree):
    """Halves of one module: one folder, and each room takes the folder's private.h."""
    folder = ring[0].rsplit("/", 1)[0]
    private = folder + "/private.h"
    return private in tree and all(
        r.rsplit("/", 1)[0] == folder
        and (r == folder + "/private" or any(private in includes_of(tree.get(r + end, "")) for end in (".c", ".h")))
        for r in ring)


def breaches_of_file(path, text):
    if layer(path)[0] is None:
        yield f"{path}: belongs to no layer (name its folder in LAYERS)"
    for include in includes_of(text):
        if not include.startswith(("bridge/", "connectors/")):
            yield f'{path}: includes "{include}", not by its path from the root'
    if not text.startswith("/* SPDX-License-Identifier: MIT */\n/* "):
        yield f"{path}: does not begin with the licence and a sentence"
    code = code_of(text)
    for name in re.findall(r"\b(%s)\s*\(" % "|".join(BANNED), code):
        yield f"{path}: calls {name}, which is banned"
    for name, _, first, lines, complexity in functions_of(code):
        if lines > LONGEST_FUNCTION:
            yield f"{path}:{first}: {name} has {lines} lines, more than {LONGEST_FUNCTION}"
        if complexity > MOST_COMPLEX_FUNCTION:
            yield f"{path}:{first}: {name} has a complexity of {complexity}, more than {MOST_COMPLEX_FUNCTION}"


def breaches_of(tree):
    for path, text in tree.items():
        yield from breaches_of_file(path, text)
    arrows = arrows_of(tree)
    for at, goals in arrows.items():
        for to, by in goals.items():
            why = breach_of_arrow(at, to)
            if why:
                yield f"{at} -> {to} ({by}): {why}"
    for ring in circles_of(arrows):
        if not is_one_module(ring, tree):
            ties = [f"{a} -> {b} ({arrows[a][b]})" for a in ring for b in arrows[a] if b in ring]
            yield "circle: " + "; ".join(ties)


def floors_of(arrows):
    """How many floors the house has: the longest way down; a circle counts as one floor."""
    of_ring = {r: tuple(ring) for ring in circles_of(arrows) for r in ring}
    unit = lambda r: of_ring.get(r, (r,))
    down = {}
    for at, goals in arrows.items():
        down.setdefault(unit(at), set()).update(unit(to) for to in goals if unit(to) != unit(at))
    height = {}

    def measure(node):
        if node not in height:
            height[node] = 1 + max((measure(to) for to in down.get(node, ())), default=0)
        return height[node]
    return max(map(measure, down), default=0)


def figures(tree):
    arrows = arrows_of(tree)
    functions = [(f[3], f[4], path, f[0]) for path, text in tree.items() for f in functions_of(code_of(text))]
    lengths = sorted(f[0] for f in functions)
    upward = sum(1 for at, goals in arrows.items() for to in goals if breach_of_arrow(at, to))
    print(f"{len(arrows)} rooms, {floors_of(arrows)} floors, {sum(map(len, arrows.values()))} arrows, {upward} against the layers, "
          f"{len(circles_of(arrows))} circles")
    print(f"{len(lengths)} functions: median {lengths[len(lengths) // 2]} lines, p90 {lengths[len(lengths) * 9 // 10]}, longest "
          f"{lengths[-1]}; most complex {max(f[1] for f in functions)}")


def check_itself():
    """Each rule must be able to fail, and let pass what is right."""
    head = "/* SPDX-License-Identifier: MIT */\n/* x */\n"
    def found(**files):
        tree = {path.replace("__", "/").replace("_DOT_", "."): head + text for path, text in files.items()}
        return list(breaches_of(tree))
    long_body = "    x();\n" * LONGEST_FUNCTION
    branches = "    if (a && b)\n" * (MOST_COMPLEX_FUNCTION // 2 + 1)
    define = lambda name, body="": f"void {name}(void)\n{{\n{body}}}\n"
    lib, event = "bridge__lib__str_DOT_", "bridge__event__event_DOT_"
    bad = [
        {lib + "c": '#include "bridge/event/event.h"', event + "h": ""},                                    # include upward
        {lib + "c": define("str_f", "    event_f();\n"), event + "c": define("event_f")},                    # call upward
        {"bridge__net__loop_DOT_c": '#include "bridge/broker/broker.h"', "bridge__broker__broker_DOT_h": ""},   # sideways
        {"bridge__intake__route_DOT_c": '#include "bridge/admin/admin.h"', "bridge__admin__admin_DOT_h": ""},
        {"bridge__cli__cli_DOT_c": '#include "connectors/http/path.h"', "connectors__http__path_DOT_h": ""},
        {"connectors__http__http_DOT_c": '#include "bridge/config/config.h"', "bridge__config__config_DOT_h": ""},
        {"connectors__http__http_DOT_c": define("f", "    config_f();\n"), "bridge__config__config_DOT_c": define("config_f")},
        {"connectors__http__http_DOT_c": '#include "connectors/webhook/answer.h"', "connectors__webhook__answer_DOT_h": ""},
        {event + "c": '#include "event.h"'},
        {event + "c": "int f(void) { return atoi (x); }"},
        {event + "c": define("event_f", long_body)},
        {event + "c": define("event_f", branches)},
        {"bridge__novelty_DOT_c": ""},
        {"bridge__lib__a_DOT_c": define("a_f", "    b_f();\n"), "bridge__lib__b_DOT_c": define("b_f", "    a_f();\n")},   # calls
        {"bridge__lib__a_DOT_h": '#include "bridge/lib/b.h"', "bridge__lib__b_DOT_h": "",
         "bridge__lib__b_DOT_c": define("b_f", "    a_f();\n"), "bridge__lib__a_DOT_c": define("a_f")},                   # include and call
    ]
    good = [
        {event + "c": '#include "bridge/lib/str.h"', lib + "h": ""},
        {event + "c": '/* strcpy() */ const char *f = "atoi(";'},
        {event + "c": "brand(); my_system();"},
        {event + "c": define("event_f", "    x();\n" * (LONGEST_FUNCTION - 4))},
        {"connectors__http__http_DOT_c": '#include "connectors/http/verify/verify.h"', "connectors__http__verify__verify_DOT_h": ""},
        {"bridge__config__private_DOT_h": "", "bridge__config__a_DOT_c": '#include "bridge/config/private.h"\n' + define("a_f", "    b_f();\n"),
         "bridge__config__b_DOT_c": '#include "bridge/config/private.h"\n' + define("b_f", "    a_f();\n")},              # halves of one module
        {lib + "c": "int format;", event + "c": "__attribute__((format(printf, 1, 2))) static " + define("event_f")},   # an attribute
        {lib + "c": "static " + define("event_f") + define("str_f", "    event_f();\n"), event + "c": define("event_f")},  # a static namesake
    ]
    for files in bad:
        assert found(**files), files
    for files in good:
        assert not found(**files), (files, found(**files))
    assert list(breaches_of_file("bridge/event/event.c", "int x;"))


def main():
    check_itself()
    tree = {file.relative_to(ROOT).as_posix(): file.read_text()
            for folder in ("bridge", "connectors") for file in sorted((ROOT / folder).rglob("*.[ch]"))}
    if "--figures" in sys.argv:
        figures(tree)
        return 0
    all_found = list(breaches_of(tree))
    found = [breach for breach in all_found if not any(breach.startswith(known) for known in STILL)]
    found += [f"{known}: mended; take it off the list STILL" for known in STILL if not any(b.startswith(known) for b in all_found)]
    for breach in found:
        print(breach)
    print(f"{len(tree)} files, {len(found)} breaches, {len(all_found) - len(found)} known")
    return 1 if found or len(tree) < 10 else 0


if __name__ == "__main__":
    sys.exit(main())
