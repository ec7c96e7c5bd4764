import * as v from 'valibot';
import { kernelWords, SECURE_BOOT_VARIABLE, secureBootIn } from '../../host/kernel.ts';
import { OS_RELEASE_FILES, parseOsRelease } from '../../host/os-release.ts';
import { matchesGlob } from '../../pattern/glob.ts';
import { count, listOf, text, texts } from '../fields.ts';
import { primitive } from '../primitive.ts';
import type { System } from '../system.ts';
import { cannotEvaluate, cannotRead, fail, listed, pass, passIf, skip, type Verdict } from '../verdict.ts';

const option = v.pipe(text, v.regex(/^CONFIG_[A-Z0-9_]+$/, 'is not an option of the kernel’s configuration'));

const params = v.variant('check', [
  v.strictObject({ check: v.literal('cpuFlag'), flag: text, arches: texts }),
  /** In words, `*` is any text and `?` any character. */
  v.strictObject({ check: v.literal('cmdlineForbid'), words: listOf(text) }),
  v.strictObject({ check: v.literal('cmdlineRequire'), words: listOf(text) }),
  v.strictObject({ check: v.literal('cmdlineAtLeast'), word: text, least: count }),
  v.strictObject({ check: v.literal('lsm'), anyOf: texts }),
  v.strictObject({ check: v.literal('apparmorEnforced') }),
  v.strictObject({ check: v.literal('cpuVulnerabilities') }),
  v.strictObject({ check: v.literal('secureBoot') }),
  v.strictObject({ check: v.literal('lockdown'), anyOf: texts }),
  v.strictObject({
    check: v.literal('config'),
    options: v.record(option, text),
    /** A word of the kernel's command line with the same effect. */
    orCmdline: v.optional(text),
  }),
  v.strictObject({ check: v.literal('configNot'), options: v.record(option, text) }),
  v.strictObject({ check: v.literal('vendorBuilt') }),
]);
type Params = v.InferOutput<typeof params>;
type Of<C extends Params['check']> = Extract<Params, { check: C }>;

const EXPECTED: { readonly [C in Params['check']]: (of: Of<C>) => string } = {
  cpuFlag: ({ flag }) => `the CPU has ${flag}`,
  cmdlineForbid: ({ words }) => `none of ${words.join(', ')} on the kernel's command line`,
  cmdlineRequire: ({ words }) => `${words.join(', ')} on the kernel's command line`,
  cmdlineAtLeast: ({ word, least }) => `${word}=${least} or more on the kernel's command line`,
  lsm: ({ anyOf }) => `${anyOf.join(' or ')} is active`,
  apparmorEnforced: () => 'no profile is in complain or unconfined mode',
  cpuVulnerabilities: () => 'every known CPU vulnerability is mitigated',
  secureBoot: () => 'Secure Boot is on',
  lockdown: ({ anyOf }) => `lockdown is ${anyOf.join(' or ')}`,
  config: ({ options, orCmdline }) =>
    `the kernel was built with ${pairs(options)}${orCmdline === undefined ? '' : `, or has ${orCmdline} on its command line`}`,
  configNot: ({ options }) => `the kernel was not built with ${pairs(options)}`,
  vendorBuilt: () => 'the running kernel names the distribution that is installed',
};

const REMEDY: { readonly [C in Params['check']]: (of: Of<C>) => string } = {
  cpuFlag: ({ flag }) => `Enable ${flag} in the firmware's settings.`,
  cmdlineForbid: () => 'Remove it from the command line in the boot loader’s configuration, and reboot.',
  cmdlineRequire: ({ words }) =>
    `Add ${words.join(' ')} to the command line in the boot loader's configuration, and reboot.`,
  cmdlineAtLeast: ({ word, least }) =>
    `Add ${word}=${least} to the command line in the boot loader's configuration, and reboot.`,
  lsm: () =>
    'Install apparmor, and include it in lsm= or security= on the command line if one is set, or let SELinux enforce.',
  apparmorEnforced: () => 'Run aa-enforce for each of these profiles.',
  cpuVulnerabilities: () => 'Install a newer kernel and microcode, and remove mitigations=off from the command line.',
  secureBoot: () => 'Enable Secure Boot in the firmware’s settings, with a signed boot loader and kernel.',
  lockdown: ({ anyOf }) =>
    `Add lockdown=${anyOf[0]} to the command line in the boot loader's configuration, and reboot.`,
  config: ({ options }) => `Use a kernel that is built with ${pairs(options)}.`,
  configNot: ({ options }) => `Use a kernel that is built without ${pairs(options)}.`,
  vendorBuilt: () => 'Run the kernel of the distribution, or except this rule where the device has one of its own.',
};

const pairs = (options: Readonly<Record<string, string>>) =>
  Object.entries(options)
    .map(([key, value]) => `${key}=${value}`)
    .join(', ');

/** How the kernel was built and started, and which features of the machine protect it. */
export const kernel = primitive({
  name: 'kernel',
  summary: "The running kernel's command line, build configuration and security modules, and CPU mitigations.",
  params,
  expected: (of) => (EXPECTED[of.check] as (of: Params) => string)(of),
  remedy: (of) => (REMEDY[of.check] as (of: Params) => string)(of),
  evaluate: (of, system) => (system.runs ? evaluateRunning(of, system) : skip('no kernel runs in this tree')),
});

function evaluateRunning(of: Params, system: System): Verdict {
  switch (of.check) {
    case 'cpuFlag':
      return evaluateFlag(of, system);
    case 'cmdlineForbid':
    case 'cmdlineRequire':
    case 'cmdlineAtLeast':
      return evaluateCmdline(of, system);
    case 'lsm':
      return evaluateLsm(of, system);
    case 'apparmorEnforced':
      return evaluateProfiles(system);
    case 'cpuVulnerabilities':
      return evaluateVulnerabilities(system);
    case 'secureBoot':
      return evaluateSecureBoot(system);
    case 'lockdown':
      return withText(system, '/sys/kernel/security/lockdown', (content) => {
        const state = /\[(\w+)\]/.exec(content)?.[1] ?? 'none';
        return passIf(of.anyOf.includes(state), state, '/sys/kernel/security/lockdown');
      });
    case 'config':
    case 'configNot':
      return evaluateConfig(of, system);
    case 'vendorBuilt':
      return evaluateVendor(system);
  }
}

function withText(system: System, path: string, evaluate: (content: string) => Verdict): Verdict {
  const look = system.files.text(path);
  if ('unreadable' in look) return cannotRead(look, path);
  return 'found' in look ? evaluate(look.found) : skip(`there is no ${path}`);
}

const evaluateFlag = ({ flag, arches }: Of<'cpuFlag'>, system: System): Verdict =>
  arches.includes(process.arch)
    ? withText(system, '/proc/cpuinfo', (content) => {
        const flags = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(content)?.[1]?.split(' ') ?? [];
        return passIf(flags.includes(flag), flags.includes(flag) ? flag : `no ${flag}`, '/proc/cpuinfo');
      })
    : pass(`does not concern ${process.arch}`);

/** The kernel and systemd take `-` and `_` in a name for the same. */
const sameName = (word: string) => word.replace(/^[^=]*/, (name) => name.replaceAll('-', '_'));
const bootWords = (commandLine: string) => kernelWords(commandLine).map((word) => sameName(word.replaceAll('"', '')));

function evaluateCmdline(of: Of<'cmdlineForbid' | 'cmdlineRequire' | 'cmdlineAtLeast'>, system: System): Verdict {
  const where = '/proc/cmdline';
  return withText(system, where, (content) => {
    const words = bootWords(content);
    const has = (wanted: string) => words.some((word) => matchesGlob(sameName(wanted), word));
    if (of.check === 'cmdlineForbid') {
      // Values of other words may be secrets; words are reported as the rule lists them.
      const wrong = of.words.filter(has);
      return wrong.length === 0 ? pass('none') : fail(wrong.join(' '), where);
    }
    if (of.check === 'cmdlineRequire') {
      const missing = of.words.filter((word) => !has(word));
      return missing.length === 0 ? pass(of.words.join(' '), where) : fail(`without ${missing.join(' ')}`, where);
    }
    const set = words.findLast((word) => word.startsWith(`${sameName(of.word)}=`))?.slice(of.word.length + 1);
    return passIf(set !== undefined && Number(set) >= of.least, set ?? 'not set', where);
  });
}

function evaluateLsm({ anyOf }: Of<'lsm'>, { files }: System): Verdict {
  const list = '/sys/kernel/security/lsm';
  const enforce = '/sys/fs/selinux/enforce';
  const look = files.text(list);
  if ('unreadable' in look) return cannotRead(look, list);
  // Without securityfs, which has the list, modules are detected by their own files.
  const apparmor = files.text('/sys/module/apparmor/parameters/enabled');
  const active =
    'found' in look
      ? look.found.trim().split(',')
      : [
          ...('found' in apparmor && apparmor.found.startsWith('Y') ? ['apparmor'] : []),
          ...(files.exists(enforce) ? ['selinux'] : []),
          ...(files.exists('/sys/fs/smackfs/load2') ? ['smack'] : []),
        ];
  const wanted = active.filter((name) => anyOf.includes(name));
  if (wanted.join() !== 'selinux')
    return passIf(wanted.length > 0, active.join(',') || 'none found', 'found' in look ? list : '/sys');
  const mode = files.text(enforce);
  if ('unreadable' in mode) return cannotRead(mode, enforce);
  if (!('found' in mode)) return fail('selinux without a policy', enforce);
  const enforces = mode.found.trim() === '1';
  return passIf(enforces, `selinux, ${enforces ? 'enforcing' : 'permissive'}`, enforce);
}

const evaluateProfiles = (system: System): Verdict =>
  withText(system, '/sys/kernel/security/apparmor/profiles', (content) => {
    const lax = content.split('\n').flatMap((line) => /^(.*) \((?:complain|unconfined)\)$/.exec(line)?.[1] ?? []);
    return lax.length === 0 ? pass('all enforced') : fail(listed(lax), '/sys/kernel/security/apparmor/profiles');
  });

/**
 * `Vulnerable`, `KVM: Vulnerable`, `Mitigation: …; BHI: Vulnerable`. Not `SMT vulnerable`, which most processors report while
 * SMT is on. See Documentation/admin-guide/hw-vuln of the kernel.
 */
const LEFT_OPEN = /(?:^|: )vulnerable|No mitigations/i;

function evaluateVulnerabilities({ files }: System): Verdict {
  const folder = '/sys/devices/system/cpu/vulnerabilities';
  const names = files.names(folder);
  if ('unreadable' in names) return cannotRead(names, folder);
  if (!('found' in names)) return skip('this kernel does not report CPU vulnerabilities');
  const open: string[] = [];
  let unseen: Verdict | undefined;
  for (const name of names.found) {
    const look = files.text(`${folder}/${name}`);
    if ('unreadable' in look) unseen ??= cannotRead(look, `${folder}/${name}`);
    else if ('found' in look && LEFT_OPEN.test(look.found)) open.push(name);
    else if ('found' in look && look.found.startsWith('Unknown'))
      unseen ??= cannotEvaluate(`${name}: ${look.found.trim()}`, `${folder}/${name}`);
  }
  if (open.length > 0) return fail(listed(open), folder);
  return unseen ?? pass('none');
}

/** efivarfs: four bytes of attributes, and the value; see the UEFI specification, 3.3. */
function evaluateSecureBoot({ files }: System): Verdict {
  const where = `/sys/${SECURE_BOOT_VARIABLE}`;
  const look = files.bytes(where, 64);
  if ('unreadable' in look) return cannotRead(look, where);
  const isOn = 'found' in look && secureBootIn(look.found) === true;
  return passIf(isOn, isOn ? 'on' : 'off', where);
}

function evaluateConfig(of: Of<'config' | 'configNot'>, system: System): Verdict {
  const config = system.kernelConfig();
  if (config === undefined) return skip('the kernel’s build configuration is not available');
  if ('unreadable' in config) return cannotRead(config, '/boot');
  const set = Object.entries(of.options).filter(([key, value]) => config.values.get(key) === value);
  if (of.check === 'configNot')
    return set.length === 0 ? pass('none') : fail(pairs(Object.fromEntries(set)), config.where);
  const missing = Object.keys(of.options).filter((key) => !set.some(([name]) => name === key));
  if (missing.length === 0) return pass(pairs(of.options), config.where);
  const cmdline = system.files.text('/proc/cmdline');
  if (of.orCmdline !== undefined && 'found' in cmdline && bootWords(cmdline.found).includes(sameName(of.orCmdline)))
    return pass(of.orCmdline, '/proc/cmdline');
  return fail(missing.map((key) => `${key}=${config.values.get(key) ?? 'n'}`).join(', '), config.where);
}

/** The kernel's version contains the name of its builder: `(debian-kernel@lists.debian.org)`. */
function evaluateVendor(system: System): Verdict {
  const [where] = OS_RELEASE_FILES.filter((path) => system.files.mayBeThere(path));
  const release = system.files.text(where ?? OS_RELEASE_FILES[0]);
  const { ID: id = '' } = 'found' in release ? parseOsRelease(release.found) : {};
  if (!/^[a-z0-9._-]+$/.test(id)) return cannotEvaluate(`${where ?? 'os-release'} names no distribution`, where);
  return withText(system, '/proc/version', (content) =>
    passIf(content.toLowerCase().includes(id), content.trim().slice(0, 120), '/proc/version'),
  );
}
