import assert from 'node:assert/strict';
import { RuleNames } from '../../../../src/agent/detections/alerts/rule-names.ts';
import type { ParsedRule } from '../../../../src/agent/detections/sigma/rule.ts';
import { readRuleSet } from '../../../../src/agent/detections/sigma/rule-set.ts';
import { createLog } from '../../../../src/core/base/log.ts';

const rule = (title: string, id: string, alert?: string) => ({
  file: `${title}.yml`,
  origin: 'local' as const,
  lineOf: () => undefined,
  value: {
    title,
    id,
    level: 'high',
    logsource: { product: 'linux', category: 'process_creation' },
    detection: { s: { Image: '/x' }, condition: 's' },
    ...(alert === undefined ? {} : { vakt: { alert } }),
  },
});
const SHIPPED = [
  rule('Shell', 'a0c94f1e-1f9b-4f0e-9a51-5a1f5f5a0001', 'IoT_ReverseShell'),
  rule('Own', 'a0c94f1e-1f9b-4f0e-9a51-5a1f5f5a0002'),
];
const RULES = readRuleSet(SHIPPED).rules;

describe('RuleNames', () => {
  let disabledRules: readonly string[];
  let exceptions: Readonly<Record<string, { readonly rule: string; readonly field: string }>>;
  let logged: string[];
  let rules: readonly ParsedRule[];
  let names: RuleNames;

  beforeEach(() => {
    [disabledRules, exceptions, logged, rules] = [[], {}, [], RULES];
    names = new RuleNames({
      rules: () => rules,
      policy: () => ({ disabledRules, exceptions }),
      nameOf: (setting) => `twin ${setting}`,
      log: createLog({ level: 'info', destination: { write: (line) => logged.push(line) } }),
    });
  });
  const except = (...rules: string[]) => {
    exceptions = Object.fromEntries(rules.map((rule, number) => [`e${number}`, { rule, field: 'Executable' }]));
  };

  it('accepts ids, alert types, and the type of rules without one', async () => {
    await names.start();
    disabledRules = ['IoT_ReverseShell', String(RULES[1]?.facts.id)];
    except('VAKT_CustomAlert', 'IoT_ReverseShell');
    assert.deepEqual(names.warnings(), {});
  });

  it('reports unknown names with the most similar known name, keyed by setting', async () => {
    await names.start();
    disabledRules = ['IoT_ReverseShel', 'IoT_ReverseShell', 'Nothing'];
    except('iot_reverseshell');
    assert.deepEqual(names.warnings(), {
      detectionsDisabledRules: 'names an unknown rule: "IoT_ReverseShel" (did you mean "IoT_ReverseShell"?), "Nothing"',
      detectionsExceptions: 'names an unknown rule: "iot_reverseshell" in "e0" (did you mean "IoT_ReverseShell"?)',
    });
  });

  it('checks names again when rules or settings change, and not before all rules were read', async () => {
    disabledRules = ['Own_Alert'];
    assert.deepEqual(names.warnings(), {});
    await names.start();
    assert.match(names.warnings().detectionsDisabledRules ?? '', /"Own_Alert"/);
    rules = readRuleSet([...SHIPPED, rule('More', 'a0c94f1e-1f9b-4f0e-9a51-5a1f5f5a0003', 'Own_Alert')]).rules;
    assert.deepEqual(names.warnings(), {});
    except('Own_Alerts');
    assert.match(names.warnings().detectionsExceptions ?? '', /"Own_Alerts" in "e0" \(did you mean "Own_Alert"\?\)/);
  });

  it('logs each change of the errors once', async () => {
    disabledRules = ['IoT_ReverseShel'];
    names.refresh();
    assert.deepEqual(logged, []);
    await names.start();
    names.refresh();
    names.refresh();
    assert.equal(logged.length, 1);
    assert.match(logged.join('\n'), /twin detectionsDisabledRules.*did you mean/);
    disabledRules = [];
    names.refresh();
    disabledRules = ['IoT_ReverseShel'];
    names.refresh();
    assert.equal(logged.length, 2);
  });

  it('limits the length of a warning', async () => {
    await names.start();
    disabledRules = Array.from({ length: 1_000 }, (_, number) => `${number}${'x'.repeat(10_000)}`);
    const warning = names.warnings().detectionsDisabledRules ?? '';
    assert.ok(warning.length < 500, warning);
    assert.match(warning, /and 995 more$/);
  });
});
