import { collectors } from '../src/agent/collectors/index.ts';
import { visit } from '../src/agent/detections/sigma/log-source.ts';
import type { ParsedRule } from '../src/agent/detections/sigma/rule.ts';
import type { Rule } from '../src/agent/detections/subject.ts';
import { ALERT_LEVELS } from '../src/core/contract/event.ts';
import { publishedName, RULE_LISTS, settingRows } from '../src/core/contract/settings.ts';
import type { Figures } from '../test/agent/detections/recall.ts';
import { GENERATED, table } from './documents.ts';

/** The rules that raise alerts of one type, the most severe first. */
interface Alert {
  readonly type: string;
  readonly rules: readonly ParsedRule[];
}

const rows = settingRows(collectors);
const lowest = rows.find(({ key }) => key === 'detectionsMinimumLevel');

/** How the rules of an alert were tried. */
export interface Trials extends Figures {
  /** The cases in `test/agent/detections/cases`, by alert. */
  readonly cases: Readonly<Record<string, { readonly attacks: number; readonly lookAlikes: number }>>;
}

/** The page of all alerts that shipped rules can raise. @throws if a rule needs a list that no setting fills */
export function alertsDocument(rules: readonly ParsedRule[], trials: Trials): string {
  const alerts = alertsOf(rules);
  return `<!-- ${GENERATED} -->

# Alerts

The agent evaluates the rules in this folder for every event on the device. If a rule matches, it sends the event SecurityAlert
with evidence and a remediation. An alert is an indication, not proof.

${rules.filter(({ facts }) => facts.alerts).length} rules raise the ${alerts.length} types of alerts below. Rules below \`${publishedName('detectionsMinimumLevel')}\` (default:
${lowest?.fallback}) raise none; [config/README.md](../README.md) describes this setting and those for exceptions, disabled rules and silence.
\`sudo vakt rules list\` and \`sudo vakt rules explain ALERT\` show the loaded rules of a device, \`sudo vakt alerts\` shows the
raised alerts.

Your own rules are files in the format of [Sigma](https://sigmahq.io/sigma-specification/), like those in this folder.
[CONTRIBUTING.md](../../CONTRIBUTING.md#add-a-detection-rule) explains how to write one, and
[src/agent/detections/README.md](../../src/agent/detections/README.md) lists the supported features. \`vakt rules check FILE\` reports
errors, and \`vakt rules test FILE --events EVENTS\` evaluates rules for recorded events. A rule is evaluated for several views of a
start, so a filter on \`CommandLine\` must match the original line (\`/usr/bin/wget https://vendor.example/\`) and the normalised one
(\`wget https://vendor.example/\`).

Tactics and techniques are those of [MITRE ATT&CK](https://attack.mitre.org), version ${ATTACK}. [attack-layer.json](attack-layer.json) shows
the techniques in the [ATT&CK Navigator](https://mitre-attack.github.io/attack-navigator/) (Open Existing Layer); the score is
the number of rules. A technique with a rule is not covered as a whole.

*Attacks* and *Look-alikes* count the cases that the rules were written with. All of these attacks are found, and no look-alike
raises the alert above low. *Unseen found* counts the attacks that raise the alert at any level, of those that the rules were not
tuned on. *At the default level* counts those that raise it with the default minimum level (${lowest?.fallback}). Of all unseen attacks,
${percent(trials, 'found')} are found, and ${percent(trials, 'visible')} are reported by default. *Benign* counts the recorded program starts from daily work
(${trials.benign} in total) that raise the alert at medium or above. It is empty for alerts that need other events or a list.

${table(
  [
    'Alert',
    'Severity',
    'Tactics',
    'Techniques',
    'Attacks',
    'Look-alikes',
    'Unseen found',
    'At the default level',
    'Benign',
    'Title',
  ],
  alerts.map(({ type, rules: all }) => [
    `[${type}](#${type.toLowerCase()})`,
    distinct(all.map(({ facts }) => facts.level)).join(', '),
    distinct(all.flatMap(({ facts }) => tacticsOf(facts))).join(', '),
    distinct(all.flatMap(({ facts }) => techniquesOf(facts)))
      .sort()
      .map((id) => `[${id}]`)
      .join(', '),
    ...trialCells(type, all, trials),
    plain(all[0]?.facts.title ?? ''),
  ]),
)}

${alerts.map(section).join('\n')}
## What detections can't see

- Actions that cause no event: a program that reads a file, the built-in commands and redirections of a shell, encrypted DNS
  queries.
- Changes that appear and disappear between two polls. The agent polls ports, accounts in the files of \`/etc\`, nftables and
  hardware every 4 seconds, or every 5 minutes if it must list everything to find a change. It checks other accounts and hardening
  rules with each snapshot.
- Commands that no rule matches, and events that an exception excludes. A user with root privileges can stop the agent.

[SECURITY.md](../../SECURITY.md#what-is-not-mitigated) lists all limits, and
[src/agent/detections/views/README.md](../../src/agent/detections/views/README.md#what-it-cant-see) the limits of the views of a command line.

${distinct(rules.flatMap(({ facts }) => techniquesOf(facts)))
  .sort()
  .map((id) => `[${id}]: ${addressOf(id)}`)
  .join('\n')}
`;
}

/** The sentences in README.md about attacks that the rules were not tuned on. */
export function recallText(trials: Trials): string {
  const [attacks, visible, found] = (['attacks', 'visible', 'found'] as const).map((key) => total(trials, key));
  return `Of ${attacks} attacks that the rules were not tuned on, ${visible} (${percent(trials, 'visible')}) raise an alert by default. At the lowest minimum level
(\`detectionsMinimumLevel\`) ${found} (${percent(trials, 'found')}) do. [config/detections/README.md](config/detections/README.md) lists both for each alert.`;
}

const total = ({ alerts }: Pick<Trials, 'alerts'>, key: 'found' | 'visible' | 'attacks') =>
  Object.values(alerts).reduce((sum, each) => sum + each[key], 0);

const percent = (trials: Trials, key: 'found' | 'visible') =>
  `${((100 * total(trials, key)) / total(trials, 'attacks')).toFixed(1)} %`;

function trialCells(type: string, rules: readonly ParsedRule[], { cases, alerts }: Trials): readonly string[] {
  const { attacks = 0, lookAlikes = 0 } = cases[type] ?? {};
  const unseen = alerts[type];
  const onStarts = rules.some(({ facts }) => facts.sources.includes('process_creation'));
  const needsList = rules.every(({ facts }) => facts.requires.length > 0);
  return [
    String(attacks),
    String(lookAlikes),
    unseen === undefined ? 'no cases' : `${unseen.found} of ${unseen.attacks}`,
    unseen === undefined ? '' : String(unseen.visible),
    onStarts && !needsList ? String(unseen?.benignHits ?? 0) : '',
  ];
}

function section({ type, rules }: Alert): string {
  const facts = rules.map((rule) => rule.facts);
  const noise = distinct(
    facts
      .flatMap(({ falsePositives }) => falsePositives)
      .map(capital)
      .map(sentence),
  );
  const known = noise.filter((text) => text !== NO_NOISE);
  const advice = distinct(facts.map(({ remediation = '' }) => remediation).filter((text) => text !== '')).map(sentence);
  return `## ${type}

${rules.map(ruleLines).join('\n')}

False positives: ${(known.length > 0 ? known : [NO_NOISE]).join(' ')}

${needs(rules)}Remediation: ${advice.join(' ')}
`;
}

const NO_NOISE = 'None known.';

const ruleLines = ({ facts: { level, title, description = '', id, file } }: ParsedRule) =>
  `- **${level}**: ${sentence(title)} ${sentence(description)}
  Rule \`${id}\` in [${file}](${file})`;

/** Settings that the rules require, and the lists whose entries they exclude. */
function needs(rules: readonly ParsedRule[]): string {
  const required = distinct(rules.flatMap(({ facts }) => facts.requires));
  const used = distinct(rules.flatMap(listsOf)).filter((list) => !required.includes(list));
  const needed = required.length === 0 ? '' : `Needs: ${required.map(settingOf).join(', ')}; off until it is set.\n\n`;
  return needed + (used.length === 0 ? '' : `Excludes entries of: ${used.map(settingOf).join(', ')}.\n\n`);
}

function listsOf(rule: ParsedRule): readonly string[] {
  if (rule.is === 'correlation') return [];
  const lists: string[] = [];
  visit(rule.expression, (_, test) => {
    if (test?.is === 'list') lists.push(test.list);
  });
  return lists;
}

/** The name of the setting that fills a list. */
function settingOf(list: string): string {
  if (list === 'badAddresses') return '`detections.badAddressesFile` of the local file';
  const key = RULE_LISTS.get(list);
  if (key === undefined) throw new Error(`no setting fills the list "${list}", which a detection rule names`);
  return `\`${publishedName(key)}\``;
}

/** The version of ATT&CK whose names the rules use. */
const ATTACK = '18';

/** A layer for the ATT&CK Navigator, by version 4.5 of its file format, of the techniques that rules name. */
export function attackLayer(rules: readonly ParsedRule[]): string {
  const alerts = alertsOf(rules);
  const found = alerts.flatMap(({ type, rules: all }) =>
    all.flatMap(({ facts }) => techniquesOf(facts).map((technique) => ({ technique, type }))),
  );
  const techniques = distinct(found.map(({ technique }) => technique))
    .sort()
    .map((techniqueID) => {
      const types = found.filter(({ technique }) => technique === techniqueID).map(({ type }) => type);
      return { techniqueID, score: types.length, comment: distinct(types).join(', ') };
    });
  const layer = {
    name: 'Vakt',
    versions: { attack: ATTACK, navigator: '5.2.0', layer: '4.5' },
    domain: 'enterprise-attack',
    description:
      'Techniques that the detection rules of Vakt name. The score is the number of rules, the comment names their ' +
      'alerts. A technique with a rule is not covered as a whole. Generated by npm run docs.',
    filters: { platforms: ['Linux', 'Containers'] },
    layout: { layout: 'side', showID: true, showName: true, expandedSubtechniques: 'annotated' },
    techniques,
    gradient: {
      colors: ['#deebf7', '#3182bd'],
      minValue: 0,
      maxValue: Math.max(1, ...techniques.map(({ score }) => score)),
    },
  };
  return `${JSON.stringify(layer, null, 2)}\n`;
}

/** Sorted by type. Rules that only correlations use raise no alert. */
function alertsOf(rules: readonly ParsedRule[]): readonly Alert[] {
  const raising = rules.filter(({ facts }) => facts.alerts);
  const severity = ({ facts }: ParsedRule) => ALERT_LEVELS.indexOf(facts.level);
  return distinct(raising.map(({ facts }) => facts.alert ?? facts.title))
    .sort()
    .map((type) => ({
      type,
      rules: raising
        .filter(({ facts }) => (facts.alert ?? facts.title) === type)
        .sort((a, b) => severity(b) - severity(a)),
    }));
}

const attackTags = ({ tags, selectionTags = {} }: Rule) =>
  [...tags, ...Object.values(selectionTags).flat()]
    .filter((tag) => tag.startsWith('attack.'))
    .map((tag) => tag.slice('attack.'.length));
const tacticsOf = (rule: Rule) => distinct(attackTags(rule).filter((tag) => !/^[a-z]\d/.test(tag)));
const techniquesOf = (rule: Rule) =>
  distinct(
    attackTags(rule)
      .filter((tag) => /^t\d/.test(tag))
      .map((tag) => tag.toUpperCase()),
  );

const addressOf = (technique: string) => `https://attack.mitre.org/techniques/${technique.replace('.', '/')}/`;

const distinct = <T>(all: readonly T[]): T[] => [...new Set(all)];

const sentence = (text: string) => plain(text).replace(/\.?$/, '.');
const capital = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

/** Without meaning for Markdown. */
const plain = (text: string) => text.replace(/[\\*_`[\]]/g, '\\$&').replaceAll('<', '&lt;');
