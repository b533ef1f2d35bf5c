"""A page of HTML that opens from disk."""

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; color: #222 }
figure { margin: 2rem 0 } img { max-width: 100% } figcaption { color: #444 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px;
  display: block; overflow-x: auto }
.holds { color: #0a6b3d } .fails { color: #a32a00 } .equal { color: #1f5fa8 }
.open { color: #666 } .count td, .count th { text-align: right }
.count td:first-child, .count th:first-child { text-align: left }
.filters button { font: inherit; margin: 0 .4rem .4rem 0; padding: .2rem .7rem;
  border: 1px solid #888; border-radius: 1rem; background: none; cursor: pointer }
.filters button[aria-pressed="true"] { background: #222; color: #fff }
@media (max-width: 40rem) {
  .claims tr, .claims td { display: block; border: 0 } .claims th { display: none }
  .claims tr { border-bottom: 1px solid #ddd; padding: .5rem 0 }
  td:first-child { white-space: normal }
}
[hidden] { display: none !important }
summary { cursor: pointer }
td:first-child { white-space: nowrap }
td, th { vertical-align: top; padding: .25rem .7rem; border-bottom: 1px solid #ddd;
  text-align: left }
th { border-bottom: 2px solid #888 }
nav a { margin-right: 1rem } small { color: #666 }
"""


def page(title: str, intro: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style>\n<h1>{title}</h1>\n<p>{intro}</p>\n{body}\n</html>\n"
    )
