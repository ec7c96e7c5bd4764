import * as v from 'valibot';
import { moduleName } from '../facts/kernel-modules.ts';
import { text } from '../fields.ts';
import { primitive } from '../primitive.ts';
import { cannotRead, fail, pass, skip } from '../verdict.ts';

const name = v.pipe(text, v.regex(/^[A-Za-z0-9_-]+$/, 'is not a module name'));

/** Kernel code must be absent, or not loadable. Loaded or built-in code fails regardless of modprobe.d. */
export const kmod = primitive({
  name: 'kmod',
  summary: 'Whether kernel code is loaded, built in, or could be loaded (/proc/modules, modules.dep, modprobe.d).',
  params: v.strictObject({
    module: name,
    /** Its name in /proc/filesystems. */
    filesystem: v.optional(name),
    /** Its name in /proc/net/protocols. */
    protocol: v.optional(name),
  }),
  expected: ({ module }) => `${module} neither loaded nor loadable`,
  remedy: ({ module }) => `Put "install ${module} /bin/false" into a file of /etc/modprobe.d, and run rmmod ${module}.`,

  async evaluate({ module, filesystem, protocol }, system) {
    const { loaded, builtIn, available, refused, refusedUnreadable, unreadable } = await system.kernelModules();
    const wanted = moduleName(module);
    if (loaded?.has(wanted) === true) return fail('loaded', '/proc/modules');
    if (unreadable !== undefined) return cannotRead(unreadable, '/lib/modules');
    for (const [word, list] of [
      [filesystem, '/proc/filesystems'],
      [protocol, `${system.netFolder}/protocols`],
    ] as const) {
      const look = word === undefined || !system.runs ? undefined : system.files.text(list);
      if (look !== undefined && 'unreadable' in look) return cannotRead(look, list);
      if (look !== undefined && 'found' in look && look.found.split(/\s+/).includes(word ?? ''))
        return fail('part of the running kernel', list);
    }
    if (builtIn.has(wanted)) return fail('built into the kernel', '/lib/modules');
    const refusal = refused.get(wanted);
    if (refusal !== undefined) return pass('not loaded by modprobe', refusal);
    if (loaded === undefined) return pass('this kernel loads no modules');
    if (available?.has(wanted) === true) {
      if (refusedUnreadable !== undefined) return cannotRead(refusedUnreadable, '/etc/modprobe.d');
      return fail('can be loaded', '/lib/modules');
    }
    if (available !== undefined) return pass('there is no such module');
    return system.runs ? pass('there are no modules of this kernel') : skip('there is no kernel in this tree');
  },
});
