import { createHash } from 'node:crypto';
import { visible } from '../../base/printable.ts';
import { type CheckOutcome, SEVERITIES } from '../../contract/baseline.ts';
import { SCRIPT, STYLE } from './page-assets.ts';
import { bySeverity, countOf, RESULT_NAMES, RESULTS, type Scanned, scopeOf } from './scanned.ts';

/**
 * The report of a scan as an HTML page in one file. Its Content-Security-Policy forbids all network access, and every
 * value is escaped. The script only filters; without it, everything is shown.
 *
 * @param categories the description of each category, by name
 */
export function baselinePage(scanned: Scanned, categories: Readonly<Record<string, string>>): string {
  const { report, subject } = scanned;
  const names = [...new Set([...Object.keys(categories), ...report.outcomes.map(({ category }) => category)])];
  const sections = names
    .map((name) => ({ name, outcomes: report.outcomes.filter(({ category }) => category === name) }))
    .filter(({ outcomes }) => outcomes.length > 0);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Hardening of ${escaped(subject)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>Hardening of ${escaped(subject)}</h1>
<p class="when">${escaped(report.scannedAt.toISOString().replace('T', ' ').slice(0, 16))} UTC · ${escaped(scopeOf(scanned).join(', '))}</p>
</header>
<main>
${overview(scanned)}
${filters(sections)}
${sections.map(({ name, outcomes }) => section(name, categories[name], outcomes)).join('\n')}
<p id="nothing" hidden>No rule matches the filter.</p>
</main>
<footer>
<p>Rule set ${escaped(report.ruleSet.version)}, SHA-256 <code>${escaped(report.ruleSet.sha256)}</code>; judged in ${report.durationMs} ms by Vakt.</p>
</footer>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

const digest = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
const policy = () =>
  `default-src 'none'; style-src ${digest(STYLE)}; script-src ${digest(SCRIPT)}; base-uri 'none'; form-action 'none'`;

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const escaped = (text: string): string => visible(text).replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? '');

function overview({ report }: Scanned): string {
  const { outcomes, limits, customChecksRefused } = report;
  const failed = outcomes.filter(({ result }) => result === 'fail');
  const cards = RESULTS.map((result) => {
    const severities =
      result === 'fail'
        ? bySeverity(failed)
            .map(([severity, count]) => `${count} ${severity}`)
            .join(', ')
        : '';
    return `<li class="card ${result}"><b>${countOf(outcomes, result)}</b> ${HEADINGS[result]}${severities === '' ? '' : `<small>${severities}</small>`}</li>`;
  });
  const notes = [
    ...limits,
    ...(customChecksRefused === undefined ? [] : [`The custom rules were not judged: ${customChecksRefused}`]),
  ];
  return `<section aria-label="Summary">
<ul class="cards">${cards.join('')}</ul>
${bar(outcomes)}
${notes.map((note) => `<p class="note">${escaped(note)}</p>`).join('\n')}
</section>`;
}

const HEADINGS = { fail: 'failed', err: 'could not be judged', pass: 'passed', skip: 'skipped' } as const;

/** The shares of the results as a bar; hidden from screen readers, since the cards contain the same numbers. */
function bar(outcomes: readonly CheckOutcome[]): string {
  const judged = outcomes.length - countOf(outcomes, 'skip');
  if (judged === 0) return '';
  let x = 0;
  const parts = (['pass', 'err', 'fail'] as const).map((result) => {
    const share = (countOf(outcomes, result) / judged) * 100;
    const part = `<rect class="${result}" x="${x.toFixed(3)}" width="${share.toFixed(3)}" height="1"/>`;
    x += share;
    return part;
  });
  return `<svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">${parts.join('')}</svg>`;
}

function filters(sections: readonly { readonly name: string }[]): string {
  const results = RESULTS.map(
    (result) =>
      `<label><input type="checkbox" name="result" value="${result}"${result === 'fail' || result === 'err' ? ' checked' : ''}> ${RESULT_NAMES[result]}</label>`,
  );
  const option = (value: string) => `<option>${escaped(value)}</option>`;
  return `<form id="filter" hidden>
<fieldset><legend>Result</legend>${results.join('')}</fieldset>
<label>Severity <select name="severity"><option value="">any</option>${SEVERITIES.map(option).join('')}</select></label>
<label>Category <select name="category"><option value="">any</option>${sections.map(({ name }) => option(name)).join('')}</select></label>
<label class="text">Text <input type="search" name="text" placeholder="file, rule, title …" autocomplete="off"></label>
<button type="button" name="open">Open all</button>
<output id="shown" aria-live="polite"></output>
</form>`;
}

function section(name: string, about: string | undefined, outcomes: readonly CheckOutcome[]): string {
  const counts = RESULTS.map((result) => [result, countOf(outcomes, result)] as const)
    .filter(([, count]) => count > 0)
    .map(([result, count]) => `<span class="count ${result}">${count} ${RESULT_NAMES[result].toLowerCase()}</span>`);
  return `<section class="category" data-category="${escaped(name)}">
<h2>${escaped(name)} ${counts.join(' ')}</h2>
${about === undefined ? '' : `<p class="about">${escaped(about)}</p>`}
${outcomes.map(rule).join('\n')}
</section>`;
}

function rule(outcome: CheckOutcome): string {
  const { result, severity, title, actual, expected, where, reason, remediation, cce, source } = outcome;
  const shortly = result === 'fail' ? actual : result === 'pass' ? undefined : reason;
  const facts: readonly (readonly [string, string | undefined])[] = [
    ['Found', actual],
    ['Because', reason],
    ['Expected', expected],
    ['Where', where],
    ['How to fix it', result === 'pass' || result === 'skip' ? undefined : remediation],
    ['Rule', outcome.rule],
    ['CCE', cce],
    ['Required by', source],
  ];
  const rows = facts.flatMap(([label, text]) =>
    text === undefined ? [] : [`<dt>${label}</dt><dd>${escaped(text)}</dd>`],
  );
  return `<details class="rule ${result}" data-result="${result}" data-severity="${severity}">
<summary><span class="result">${RESULT_NAMES[result]}</span> <span class="severity ${severity.toLowerCase()}">${severity}</span> <span class="title">${escaped(title)}</span>${shortly === undefined ? '' : ` <span class="shortly">${escaped(shortly)}</span>`}</summary>
<dl>${rows.join('')}</dl>
</details>`;
}
