import type { Logger } from '../../../core/base/log.ts';
import { nearestName } from '../../../core/base/nearest-name.ts';
import type { Service } from '../../../core/base/service.ts';
import type { NameOfSetting, SettingId } from '../../../core/contract/settings.ts';
import type { ParsedRule } from '../sigma/rule.ts';
import { type AlertPolicy, alertTypeOf } from './policy.ts';

/** Number of names of a setting that a warning lists; the rest is counted. */
const MAX_NAMED = 5;
/** Maximum length of a name in a warning, in UTF-16 units. */
const MAX_NAME_CHARACTERS = 64;

type Named = Pick<AlertPolicy, 'disabledRules' | 'exceptions'>;
type Warnings = Readonly<Partial<Record<SettingId, string>>>;

/**
 * Warns about rule names in the module twin that no rule has: a misspelled name would look as if it had an effect. The settings
 * stay active, because the rule may come with the next rule file.
 */
export class RuleNames implements Service {
  readonly name = 'names of detection rules';
  readonly #rules: () => readonly ParsedRule[];
  readonly #policy: () => Named;
  readonly #nameOf: NameOfSetting;
  readonly #log: Logger;
  #isStarted = false;
  #checked: (Named & { readonly rules: readonly ParsedRule[]; readonly warnings: Warnings }) | undefined;
  #logged = '{}';

  constructor(options: {
    /** All rules; must return the same array while they are unchanged. */
    rules: () => readonly ParsedRule[];
    policy: () => Named;
    /** The setting's name in the module twin, for the log. */
    nameOf: NameOfSetting;
    log: Logger;
  }) {
    this.#rules = options.rules;
    this.#policy = options.policy;
    this.#nameOf = options.nameOf;
    this.#log = options.log;
  }

  /** Call this when the operator's own rules have been read. There are no warnings before. */
  async start(): Promise<void> {
    this.#isStarted = true;
    this.refresh();
  }

  async stop(): Promise<void> {}

  /** Call this when settings or rules may have changed. Logs each change of the warnings. */
  refresh(): void {
    const warnings = this.warnings();
    const text = JSON.stringify(warnings);
    if (text === this.#logged) return;
    this.#logged = text;
    if (text === '{}') return;
    const settings = Object.entries(warnings).map(([setting, warning]) => [
      this.#nameOf(setting as SettingId),
      warning,
    ]);
    const line = 'The module twin names detection rules that do not exist.';
    this.#log.warn({ settings: Object.fromEntries(settings) }, line);
  }

  /** Warnings about unknown rule names, keyed by setting. */
  warnings(): Warnings {
    if (!this.#isStarted) return {};
    const rules = this.#rules();
    const { disabledRules, exceptions } = this.#policy();
    const known = this.#checked;
    if (known?.rules !== rules || known.disabledRules !== disabledRules || known.exceptions !== exceptions) {
      const warnings = warningsOf({ disabledRules, exceptions }, rules);
      this.#checked = { rules, disabledRules, exceptions, warnings };
      return warnings;
    }
    return known.warnings;
  }
}

function warningsOf({ disabledRules, exceptions }: Named, rules: readonly ParsedRule[]): Warnings {
  const names = new Set(rules.flatMap(({ facts }) => [facts.id, alertTypeOf(facts)]));
  const known = [...names];
  const disabled = disabledRules.filter((name) => !names.has(name)).map((rule) => ({ rule, label: quoted(rule) }));
  const excepted = Object.entries(exceptions)
    .filter(([, { rule }]) => !names.has(rule))
    .map(([id, { rule }]) => ({ rule, label: `${quoted(rule)} in ${quoted(id)}` }));
  return {
    ...(disabled.length === 0 ? {} : { detectionsDisabledRules: listed(disabled, known) }),
    ...(excepted.length === 0 ? {} : { detectionsExceptions: listed(excepted, known) }),
  };
}

function listed(
  unknown: readonly { readonly rule: string; readonly label: string }[],
  known: readonly string[],
): string {
  const labels = unknown.slice(0, MAX_NAMED).map(({ rule, label }) => {
    const meant = nearestName(rule.slice(0, MAX_NAME_CHARACTERS), known);
    return meant === undefined ? label : `${label} (did you mean "${meant}"?)`;
  });
  const more = unknown.length > MAX_NAMED ? ` and ${unknown.length - MAX_NAMED} more` : '';
  return `names an unknown rule: ${labels.join(', ')}${more}`;
}

const quoted = (name: string) =>
  JSON.stringify(name.length > MAX_NAME_CHARACTERS ? `${name.slice(0, MAX_NAME_CHARACTERS)}…` : name);
