import { type CheckOutcome, SEVERITIES } from '../../../core/contract/baseline.ts';
import { escaped, htmlPage } from '../html.ts';
import { evidenceRows } from './evidence.ts';
import { SCRIPT, STYLE } from './page-assets.ts';
import { bySeverity, countOf, RESULT_NAMES, RESULTS, type Scanned, scopeOf } from './scanned.ts';

/**
 * The report of a scan as an HTML page in one file. The script only filters; without it, everything is shown.
 *
 * @param categories the description of each category, by name
 */
export function baselinePage(scanned: Scanned, categories: Categories): string {
  const { report, subject } = scanned;
  return htmlPage({
    title: `Hardening of ${subject}`,
    style: STYLE,
    script: SCRIPT,
    header: `<h1>Hardening of ${escaped(subject)}</h1>
<p class="when">${escaped(report.scannedAt.toISOString().replace('T', ' ').slice(0, 16))} UTC · ${escaped(scopeOf(scanned).join(', '))}</p>`,
    main: `${evidenceList(scanned)}
${baselineOverview(scanned)}
${filters(sectionsOf(scanned, categories))}
${baselineSections(scanned, categories)}
<p id="nothing" hidden>No rule matches the filter.</p>`,
    footer: `<p>${ruleSetLine(scanned)}</p>`,
  });
}

function evidenceList({ evidence }: Scanned): string {
  if (evidence === undefined) return '';
  const rows = evidenceRows(evidence).map(([label, text]) => `<dt>${label}</dt><dd>${escaped(text)}</dd>`);
  return `<dl class="evidence">${rows.join('')}</dl>`;
}

/** The description of each category, by name. */
type Categories = Readonly<Record<string, string>>;

function sectionsOf({ report }: Scanned, categories: Categories) {
  const names = [...new Set([...Object.keys(categories), ...report.outcomes.map(({ category }) => category)])];
  return names
    .map((name) => ({ name, outcomes: report.outcomes.filter(({ category }) => category === name) }))
    .filter(({ outcomes }) => outcomes.length > 0);
}

/** The rules by category, as HTML for a page with `STYLE`. @param heading level of the categories' headings */
export const baselineSections = (scanned: Scanned, categories: Categories, heading: 2 | 3 = 2): string =>
  sectionsOf(scanned, categories)
    .map(({ name, outcomes }) => section(name, categories[name], outcomes, heading))
    .join('\n');

/** The rule set and how long it took, as HTML. */
export const ruleSetLine = ({ report }: Scanned): string =>
  `Rule set ${escaped(report.ruleSet.version)}, SHA-256 <code>${escaped(report.ruleSet.sha256)}</code>; evaluated in ${report.durationMs} ms by Vakt.`;

/** Counts, and what limits the scan, as HTML. */
export function baselineOverview({ report }: Scanned): string {
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
    ...(customChecksRefused === undefined ? [] : [`The custom rules were not evaluated: ${customChecksRefused}`]),
  ];
  return `<section aria-label="Summary">
<ul class="cards">${cards.join('')}</ul>
${bar(outcomes)}
${notes.map((note) => `<p class="note">${escaped(note)}</p>`).join('\n')}
</section>`;
}

const HEADINGS = { fail: 'failed', err: 'could not be evaluated', pass: 'passed', skip: 'skipped' } as const;

/** The shares of the results as a bar; hidden from screen readers, since the cards contain the same numbers. */
function bar(outcomes: readonly CheckOutcome[]): string {
  const evaluatedCount = outcomes.length - countOf(outcomes, 'skip');
  if (evaluatedCount === 0) return '';
  let x = 0;
  const parts = (['pass', 'err', 'fail'] as const).map((result) => {
    const share = (countOf(outcomes, result) / evaluatedCount) * 100;
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

function section(name: string, about: string | undefined, outcomes: readonly CheckOutcome[], heading: 2 | 3): string {
  const counts = RESULTS.map((result) => [result, countOf(outcomes, result)] as const)
    .filter(([, count]) => count > 0)
    .map(([result, count]) => `<span class="count ${result}">${count} ${RESULT_NAMES[result].toLowerCase()}</span>`);
  return `<section class="category" data-category="${escaped(name)}">
<h${heading}>${escaped(name)} ${counts.join(' ')}</h${heading}>
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
