/* Style and filter script of the report page. They refer to no other file. */

export const STYLE = `
:root {
  --back: #f6f7f9; --front: #1c2330; --weak: #5b6577; --card: #ffffff; --line: #dbe0e8; --accent: #2b5fb8;
  --fail: #b3261e; --err: #8a5a00; --pass: #1b7a43; --skip: #5b6577;
  --fail-back: #fdecea; --err-back: #fdf3dc; --pass-back: #e6f4ec; --skip-back: #eceff3;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #12161d; --front: #e4e8ef; --weak: #9aa5b7; --card: #1b212b; --line: #313a49; --accent: #7aa7f0;
    --fail: #ff9a92; --err: #f2c46d; --pass: #7fd6a2; --skip: #9aa5b7;
    --fail-back: #3b1f1e; --err-back: #372b14; --pass-back: #17311f; --skip-back: #262d39;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; background: var(--back); color: var(--front); font: 15px/1.5 system-ui, sans-serif; }
header, main, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.25; overflow-wrap: anywhere; }
.when, .about, footer { color: var(--weak); }
.when { margin: .35rem 0 1.5rem; }
footer { padding: 1rem 1.25rem 3rem; font-size: .85rem; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem; margin: 0; padding: 0; list-style: none; }
.card { background: var(--card); border: 1px solid var(--line); border-left: 4px solid; border-radius: .5rem; padding: .7rem 1rem; color: var(--weak); }
.card b { display: block; font-size: 1.9rem; line-height: 1.2; color: var(--front); font-variant-numeric: tabular-nums; }
.card small { display: block; }
.card.fail { border-left-color: var(--fail); } .card.err { border-left-color: var(--err); }
.card.pass { border-left-color: var(--pass); } .card.skip { border-left-color: var(--skip); }
.bar { display: block; width: 100%; height: .55rem; margin: 1rem 0; border-radius: .3rem; overflow: hidden; }
.bar .fail { fill: var(--fail); } .bar .err { fill: var(--err); } .bar .pass { fill: var(--pass); }
.note { border-left: 4px solid var(--err); background: var(--err-back); padding: .5rem .8rem; border-radius: .3rem; }
form { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .6rem 1.1rem; align-items: center;
  background: var(--back); border-bottom: 1px solid var(--line); padding: .7rem 0; margin: .5rem 0; }
fieldset { display: flex; flex-wrap: wrap; gap: .3rem .9rem; border: 0; margin: 0; padding: 0; }
legend { float: left; padding: 0; margin-right: .9rem; }
legend, form label { color: var(--weak); white-space: nowrap; }
fieldset label { color: var(--front); }
input, select, button { font: inherit; color: var(--front); background: var(--card); accent-color: var(--accent); }
select, input[type=search], button { border: 1px solid var(--line); border-radius: .35rem; padding: .25rem .5rem; }
.text { flex: 1 1 14rem; display: flex; gap: .4rem; align-items: center; }
.text input { flex: 1; min-width: 6rem; }
button { cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
output { color: var(--weak); font-variant-numeric: tabular-nums; }
h2, h3 { font-size: 1.05rem; margin: 1.8rem 0 0; display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
.count { font-size: .78rem; font-weight: 400; padding: .05rem .5rem; border-radius: 1rem; }
.about { margin: .1rem 0 .5rem; font-size: .9rem; }
.count.fail, .fail .result { color: var(--fail); background: var(--fail-back); }
.count.err, .err .result { color: var(--err); background: var(--err-back); }
.count.pass, .pass .result { color: var(--pass); background: var(--pass-back); }
.count.skip, .skip .result { color: var(--skip); background: var(--skip-back); }
.rule { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; margin: .35rem 0; }
summary { display: grid; grid-template-columns: .8rem 5.6rem 6.6rem 1fr minmax(0, 16rem); gap: .6rem; align-items: baseline; padding: .45rem .8rem; cursor: pointer; list-style: none; }
summary::-webkit-details-marker { display: none; }
summary::before { content: "\\25B8"; color: var(--weak); }
[open] > summary::before { content: "\\25BE"; }
.shortly { color: var(--weak); font-size: .85rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.result { font-size: .78rem; text-align: center; border-radius: 1rem; padding: .05rem .4rem; white-space: nowrap; }
.severity { font-size: .85rem; color: var(--weak); }
.severity.critical, .severity.important { color: var(--front); font-weight: 600; }
.title { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: 8.5rem 1fr; gap: .25rem .6rem; margin: 0; padding: .5rem .8rem .8rem; border-top: 1px solid var(--line); }
dl.evidence { grid-template-columns: 11rem 1fr; padding: 0; border: 0; margin: 0 0 1rem; font-size: .9rem; }
dt { color: var(--weak); }
dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
@media (max-width: 40rem) {
  form { position: static; }
  summary { grid-template-columns: .8rem 5.6rem 1fr; }
  .title { grid-column: 1 / -1; }
  .shortly { display: none; }
  dl { grid-template-columns: 1fr; }
  dd { margin-bottom: .4rem; }
}
@media print {
  form { display: none !important; }
  .rule { break-inside: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
  :root { --back: #ffffff; --front: #000000; --weak: #444444; --card: #ffffff; --line: #bbbbbb; }
}
`;

export const SCRIPT = `
'use strict';
const form = document.getElementById('filter');
const rules = [...document.querySelectorAll('.rule')].map((node) => ({ node, text: node.textContent.toLowerCase() }));
const sections = [...document.querySelectorAll('.category')];
function apply() {
  const chosen = new FormData(form);
  const results = chosen.getAll('result');
  const words = chosen.get('text').toLowerCase().split(' ').filter((word) => word !== '');
  let shown = 0;
  for (const { node, text } of rules) {
    const fits =
      results.includes(node.dataset.result) &&
      (chosen.get('severity') === '' || chosen.get('severity') === node.dataset.severity) &&
      (chosen.get('category') === '' || chosen.get('category') === node.parentElement.dataset.category) &&
      words.every((word) => text.includes(word));
    node.hidden = !fits;
    if (fits) shown += 1;
  }
  for (const section of sections) section.hidden = section.querySelector('.rule:not([hidden])') === null;
  document.getElementById('shown').textContent = shown + ' of ' + rules.length + ' rules';
  document.getElementById('nothing').hidden = shown > 0;
}
form.addEventListener('input', apply);
form.addEventListener('submit', (event) => event.preventDefault());
form.elements.open.addEventListener('click', () => {
  const visible = rules.filter(({ node }) => !node.hidden);
  const open = visible.some(({ node }) => !node.open);
  for (const { node } of visible) node.open = open;
  form.elements.open.textContent = open ? 'Close all' : 'Open all';
});
let closed = [];
addEventListener('beforeprint', () => {
  closed = rules.filter(({ node }) => !node.open);
  for (const { node } of closed) node.open = true;
});
addEventListener('afterprint', () => {
  for (const { node } of closed) node.open = false;
});
form.hidden = false;
apply();
`;

/** For the page of a whole device, besides `STYLE`. */
export const REPORT_STYLE = `
main > section > h2 { font-size: 1.3rem; margin-top: 2.4rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: 0 0 1rem; padding: 0; list-style: none; }
a { color: var(--accent); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; background: var(--card); }
th, td { text-align: left; vertical-align: top; border: 1px solid var(--line); padding: .25rem .6rem; overflow-wrap: anywhere; }
th { color: var(--weak); font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .8rem; }
@media print { nav { display: none; } tr, pre { break-inside: avoid; } }
`;
