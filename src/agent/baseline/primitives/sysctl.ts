import * as v from 'valibot';
import { ifMissing, integer, listOf } from '../fields.ts';
import { primitive } from '../primitive.ts';
import { cannotEvaluate, cannotRead, missing, passIf, skip, type Verdict } from '../verdict.ts';

const common = {
  key: v.pipe(v.string(), v.maxLength(100), v.regex(/^[a-z0-9_]+(?:\.[A-Za-z0-9_-]+)+$/, 'is not a kernel parameter')),
  ifMissing,
};

const params = v.variant('op', [
  v.strictObject({ ...common, op: v.literal('eq'), value: integer }),
  v.strictObject({ ...common, op: v.literal('ge'), value: integer }),
  v.strictObject({ ...common, op: v.literal('in'), value: listOf(integer) }),
]);
type Params = v.InferOutput<typeof params>;

/** A parameter of the running kernel; in a tree that is not running, the value that its files set. */
export const sysctl = primitive({
  name: 'sysctl',
  summary: 'A kernel parameter: its current value in /proc/sys, and the value that sysctl.d sets at boot.',
  params,

  expected(of) {
    if (of.op === 'eq') return String(of.value);
    return of.op === 'ge' ? `at least ${of.value}` : of.value.join(' or ');
  },

  remedy: (of) =>
    `Set ${of.key} = ${of.op === 'in' ? of.value[0] : of.value} in a file of /etc/sysctl.d, and run sysctl --system.`,

  async evaluate(of, system) {
    const { settings, unreadable } = await system.persistedSysctls();
    const persisted = settings.get(of.key);
    if (!system.runs) {
      if (unreadable !== undefined) return cannotRead(unreadable, '/etc/sysctl.d');
      if (persisted === undefined) return skip(`no file sets ${of.key}, and no kernel is running`);
      return evaluateValue(of, persisted.value, persisted.where);
    }
    const path = `/proc/sys/${of.key.replaceAll('.', '/')}`;
    if (of.key.startsWith('net.') && !system.seesHostNetwork())
      return skip('the network namespace is not that of the host');
    const look = system.files.text(path);
    if ('missing' in look) return missing(of.ifMissing, path);
    if ('unreadable' in look) return cannotRead(look, path);
    const verdict = evaluateValue(of, look.found.trim(), path);
    return verdict.result === 'pass' || verdict.result === 'fail' ? withPersisted(verdict, persisted) : verdict;
  },
});

function evaluateValue(of: Params, text: string, where: string): Verdict {
  if (!/^-?\d{1,15}$/.test(text)) return cannotEvaluate(`${where} does not contain a number`, where);
  const actual = Number(text);
  if (of.op === 'in') return passIf(of.value.includes(actual), text, where);
  return passIf(of.op === 'eq' ? actual === of.value : actual >= of.value, text, where);
}

/** Adds the value of the next boot if it differs. */
function withPersisted(verdict: Verdict, persisted: { value: string; where: string } | undefined): Verdict {
  if (persisted === undefined || persisted.value === verdict.actual) return verdict;
  return { ...verdict, actual: `${verdict.actual} (${persisted.where} sets ${persisted.value.slice(0, 40)})` };
}
