"""What a reader and a second run may expect of every notebook, from its source alone."""

import ast
from collections import defaultdict
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHANGING = {"append", "extend", "update", "setdefault", "add", "insert", "pop", "sort", "clear"}
FUNCTIONS, HELPER_LINES = 60, 450  # of all notebooks together


def code_cells(path):
    nb = nbformat.read(path, as_version=4)
    return [c.source for c in nb.cells if c.cell_type == "code" and c.source.strip()]


class Names(ast.NodeVisitor):
    """Names that a cell reads before it has bound them, that it binds, and that it changes."""

    def __init__(self):
        self.read, self.bound, self.changed = set(), set(), set()

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Load):
            self.read |= {node.id} - self.bound
        else:
            self.bound.add(node.id)

    def visit_Assign(self, node):
        self.visit(node.value)
        for target in node.targets:
            self.assign(target)

    def visit_AnnAssign(self, node):
        if node.value:
            self.visit(node.value)
        self.assign(node.target)

    def visit_AugAssign(self, node):
        self.visit(node.value)
        self.changed |= {root(node.target)} - self.bound
        self.bound |= {root(node.target)} if isinstance(node.target, ast.Name) else set()

    def assign(self, target):
        if isinstance(target, (ast.Subscript, ast.Attribute)):
            self.changed |= {root(target)} - self.bound
            self.generic_visit(target)
        elif isinstance(target, (ast.Tuple, ast.List)):
            for part in target.elts:
                self.assign(part)
        else:
            self.visit(target)

    def visit_Call(self, node):
        if isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
            self.changed |= {root(node.func)} - self.bound
        self.generic_visit(node)

    def visit_For(self, node):
        self.visit(node.iter)
        self.assign(node.target)
        for part in (*node.body, *node.orelse):
            self.visit(part)

    def visit_With(self, node):
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars:
                self.assign(item.optional_vars)
        for part in node.body:
            self.visit(part)

    def visit_comprehension_of(self, node):
        inside = Names()
        inside.bound = set(self.bound)
        for loop in node.generators:
            inside.visit(loop.iter)
            inside.assign(loop.target)
            for test in loop.ifs:
                inside.visit(test)
        for part in ("elt", "key", "value"):
            if hasattr(node, part):
                inside.visit(getattr(node, part))
        self.read |= inside.read
        self.changed |= inside.changed

    visit_ListComp = visit_SetComp = visit_DictComp = visit_comprehension_of
    visit_GeneratorExp = visit_comprehension_of

    def visit_FunctionDef(self, node):
        self.bound.add(node.name)
        self.scope(node, node.body)

    def visit_Lambda(self, node):
        self.scope(node, [node.body])

    def scope(self, node, body):
        for default in (*node.args.defaults, *(d for d in node.args.kw_defaults if d)):
            self.visit(default)
        inside, arguments = Names(), node.args
        names = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        inside.bound = {a.arg for a in (*names, arguments.vararg, arguments.kwarg) if a}
        for part in body:
            inside.visit(part)
        self.read |= inside.read - self.bound
        self.changed |= inside.changed - self.bound

    def visit_ClassDef(self, node):
        self.bound.add(node.name)
        for part in node.body:
            if isinstance(part, ast.FunctionDef):
                self.scope(part, part.body)

    def visit_Import(self, node):
        self.bound |= {(a.asname or a.name).split(".")[0] for a in node.names}

    visit_ImportFrom = visit_Import


def root(node) -> str:
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def rebound(cells: list[str]) -> list[str]:
    """Names that would not survive a second run of a cell: one that several cells use is bound in
    two of them, or a cell changes what another one made."""
    found, makers, shared = [], defaultdict(list), set()
    seen = []
    for i, source in enumerate(cells):
        names = Names()
        names.visit(ast.parse(source))
        seen.append(names)
        shared |= names.read | names.changed
        for name in names.bound:
            makers[name].append(i)
    for name in sorted(shared & set(makers)):
        if len(makers[name]) > 1:
            found.append(f"{name} is bound in code cells {', '.join(map(str, makers[name]))}")
    for i, names in enumerate(seen):
        for name in sorted(names.changed - {""}):
            if any(k < i for k in makers[name]) and makers[name] != [i]:
                found.append(f"code cell {i} changes {name}, which cell {makers[name][0]} made")
    return found


def test_what_counts_as_rebound():
    assert rebound(["a = 1\nb = a", "fig = b", "fig = b + a"]) == []
    assert rebound(["a = 1", "b = a", "a = 2"]) == ["a is bound in code cells 0, 2"]
    assert rebound(["a = []", "a.append(1)"]) == ["code cell 1 changes a, which cell 0 made"]
    assert rebound(["a = {}", "a['x'] = 1"]) == ["code cell 1 changes a, which cell 0 made"]
    assert "a" in rebound(["a = 1", "a += 1"])[0]
    assert rebound(["t = 1", "t = t + 1"]) == ["t is bound in code cells 0, 1"]
    assert rebound(["def f(x):\n    y = x\n    return y", "z = f(1)", "print(z)"]) == []
    assert rebound(["rows = []\nfor i in (1, 2):\n    rows.append(i)", "print(rows)"]) == []
    assert rebound(["k = 1", "v = [k for k in (1, 2)]", "for k in v:\n    print(k)"]) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_any_cell_can_be_run_again(path):
    assert rebound(code_cells(path)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_cells_are_narrow_and_short(path):
    cells = code_cells(path)
    assert max(len(line) for c in cells for line in c.splitlines()) <= 100
    assert max(len(c.splitlines()) for c in cells) <= 25
    assert not any("fmt: skip" in c or "fmt: off" in c for c in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_metric_is_written_again(path):
    code = "\n".join(code_cells(path)).replace(" ", "")
    for formula in ("clamp(min=0)*100", "100*(whole", "100.0*(s>", "l_c-l_o", "quantile(0.75)"):
        assert formula not in code, f"{formula}: call the metric"


def test_library_code_stays_in_the_package():
    helpers = [
        node
        for path in NOTEBOOKS
        for cell in code_cells(path)
        for node in ast.parse(cell).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    ]
    assert len(helpers) <= FUNCTIONS
    assert sum(node.end_lineno - node.lineno + 1 for node in helpers) <= HELPER_LINES
