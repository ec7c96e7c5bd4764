import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

interface SourceFile {
  readonly path: string;
  readonly text: string;
}

interface Import {
  /** A module's name, or a path from the root of the repository. */
  readonly target: string;
  readonly kind: 'static' | 'dynamic' | 'type';
}

const BUILDING_BLOCKS = ['core/base', 'core/contract'];
const CORE = [...BUILDING_BLOCKS, 'core/network', 'core/twin', 'core/command-line'];

/** Folder of src → the folders it may import from besides itself. The picture is in src/README.md. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'core/base': [],
  'core/contract': ['core/base'],
  'core/network': BUILDING_BLOCKS,
  'core/twin': BUILDING_BLOCKS,
  'core/command-line': BUILDING_BLOCKS,
  emulator: CORE,
  fleet: CORE,
  // Folders that several other folders of the agent build on.
  'agent/state': BUILDING_BLOCKS,
  'agent/pattern': BUILDING_BLOCKS,
  'agent/host': [...BUILDING_BLOCKS, 'agent/pattern'],
  'agent/reader': [...BUILDING_BLOCKS, 'agent/host'],
  'agent/identity': [...BUILDING_BLOCKS, 'core/network', 'agent/state'],
  'agent/detections': [...BUILDING_BLOCKS, 'agent/state', 'agent/pattern'],
  // Peers.
  'agent/linux': [...BUILDING_BLOCKS, 'agent/state', 'agent/host', 'agent/reader'],
  'agent/collectors': BUILDING_BLOCKS,
  'agent/baseline': [...BUILDING_BLOCKS, 'agent/host', 'agent/pattern', 'agent/reader'],
  'agent/pipeline': [...BUILDING_BLOCKS, 'agent/state'],
  'agent/posture': [...BUILDING_BLOCKS, 'agent/host', 'agent/state'],
  'agent/config': [...BUILDING_BLOCKS, 'core/network', 'core/twin', 'agent/state', 'agent/identity'],
  'agent/hub': [...BUILDING_BLOCKS, 'core/network', 'core/twin', 'agent/state', 'agent/identity'],
  // The top layer, from the bottom up: folders that import several peers.
  'agent/status': [
    ...[...BUILDING_BLOCKS, 'core/twin', 'agent/detections', 'agent/linux', 'agent/collectors', 'agent/baseline'],
    ...['agent/pipeline', 'agent/posture', 'agent/config', 'agent/state'],
  ],
  'agent/methods': [...BUILDING_BLOCKS, 'agent/collectors', 'agent/pipeline', 'agent/config', 'agent/status'],
  'agent/lifeline.ts': ['core/base', 'agent/linux', 'agent/status'],
  'agent/reader-main.ts': ['core/base', 'agent/reader', 'agent/linux', 'agent/baseline'],
  'agent/hardware-main.ts': ['core/base', 'agent/commands'],
  'agent/shipped-main.ts': ['core/base'],
  'agent/composition': [
    ...[
      ...CORE,
      'agent/linux',
      'agent/collectors',
      'agent/baseline',
      'agent/pipeline',
      'agent/posture',
      'agent/config',
    ],
    ...['agent/hub', 'agent/status', 'agent/methods', 'agent/lifeline.ts', 'agent/identity', 'agent/detections'],
    'agent/state',
  ],
  'agent/agent.ts': ['core/base', 'agent/linux', 'agent/collectors', 'agent/config', 'agent/composition'],
  'agent/commands': [
    ...[...CORE, 'agent/host', 'agent/linux', 'agent/collectors', 'agent/baseline', 'agent/pipeline', 'agent/config'],
    ...['agent/hub', 'agent/identity', 'agent/detections', 'agent/posture', 'agent/status', 'agent/agent.ts'],
    ...['agent/state', 'agent/reader'],
  ],
  'agent/main.ts': ['core/base', 'core/command-line', 'agent/hub', 'agent/commands', 'agent/linux'],
  'main.ts': ['core/base', 'core/command-line', 'agent/hub', 'agent/commands', 'agent/linux', 'emulator', 'fleet'],
};

const read = (folder: string): SourceFile[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => ({ path: join(folder, file), text: readFileSync(join(folder, file), 'utf8') }));

/** The source without comments. A `//` within a string, as in a URL, does not start a comment. */
const code = (text: string) =>
  text.replace(/\/\*[\s\S]*?\*\/|(^|[^:'"`])\/\/[^\n]*/gm, (_comment, before: string | undefined) => before ?? '');

const IMPORTS =
  /\b(import|export)\s+(type\s)?[^'";]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\s*['"]([^'"]+)['"]|\b(?:import|require|require\.resolve)\s*\(\s*['"`]([^'"`]+)['"`]/g;

function imports({ path, text }: SourceFile): Import[] {
  return [...code(text).matchAll(IMPORTS)].map((match): Import => {
    const [, , type, from, forEffect, called] = match;
    const name = from ?? forEffect ?? called ?? '';
    const target = name.startsWith('.') ? normalize(join(dirname(path), name)) : name;
    return { target, kind: called !== undefined ? 'dynamic' : type !== undefined ? 'type' : 'static' };
  });
}

/** The folder of a file: `core/base`, `agent/hub`, `agent/main.ts`, `emulator`. */
function ownerOf(path: string): string {
  const [, product = '', folder] = path.split('/');
  return folder !== undefined && ['core', 'agent'].includes(product) ? `${product}/${folder}` : product;
}
/** Files of /proc/PID for which the kernel takes the process's mmap_lock, or waits for its execve(2); see proc(5). */
const MEMORY_FILES =
  '(?:auxv|clear_refs|cmdline|environ|io|map_files|maps|mem|numa_maps|pagemap|smaps|smaps_rollup|stack|syscall)';

const inSource = ({ target }: Import) => target.startsWith('src/');
const inFolder = (folder: string) => (path: string) => path.startsWith(`src/${folder}/`);
const inFile =
  (...files: string[]) =>
  (path: string) =>
    files.includes(path);

/** Each rule returns the faults of a file. The planted sources below prove that each rule can fail. */
const RULES: Readonly<Record<string, (file: SourceFile) => string[]>> = {
  'agent, emulator and fleet import only core and themselves, and core imports none of them': (file) => {
    const [, product = ''] = file.path.split('/');
    if (product === 'main.ts') return []; // chooses one of the programs
    return imports(file)
      .filter(inSource)
      .map(({ target }) => target)
      .filter((target) => !inFolder(product)(target) && !inFolder('core')(target));
  },

  'every folder imports only from the floors below it': (file) => {
    const owner = ownerOf(file.path);
    const allowed = MAY_IMPORT[owner];
    if (allowed === undefined) return [`${owner} has no place in the picture`];
    return imports(file)
      .filter(inSource)
      .map(({ target }) => ownerOf(target))
      .filter((target) => target !== owner && !allowed.includes(target));
  },

  'time is read and waited for only in base/clock.ts': (file) =>
    found(
      file,
      /(?<!\bmqttBase\.)\bset(?:Timeout|Interval)\b|\bDate\.now\b|\bperformance\.now\b|\bAbortSignal\.timeout\b|['"](?:node:)?timers(?:\/promises)?['"]|\bnew Date\(\s*\)|\bhrtime\b/g,
      // A browser has no such clock, and its page is tested in one.
      (path) => inFile('src/core/base/clock.ts')(path) || inFolder('emulator/page/browser')(path),
    ),

  'the agent reads whole files of unknown kind and size only with limits': (file) =>
    found(
      file,
      /\b(?:readFile(?:Sync|IfThere)?|createReadStream)\((?!\s*['"`]\/proc\/)/g,
      // Commands, files that are installed with the program, descriptors that were checked, and files of the kernel's.
      (path) =>
        ['agent/commands', 'core/command-line', 'emulator', 'fleet'].some((folder) => inFolder(folder)(path)) ||
        inFile(
          ...[
            'src/agent/shipped-main.ts',
            'src/core/base/atomic-file.ts',
            'src/core/base/version.ts',
            'src/core/base/code-cache.ts',
          ],
          ...['src/agent/baseline/rule-set.ts', 'src/agent/detections/built-in.ts', 'src/agent/host/proc-folder.ts'],
          'src/agent/detections/alerts/exception-effect.ts',
        )(path),
    ),

  'only hub/ names the Azure SDK and MQTT': (file) =>
    importsOf(file, /^(?:azure-(?!iothub)|mqtt$|mqtt\/)/, inFolder('agent/hub')),

  'only fleet/ names the service SDK': (file) => importsOf(file, /^(?:azure-iothub|@azure\/)/, inFolder('fleet')),

  // The provisioning service is called before a hub is assigned. It needs MQTT packets, but not MQTT.js's sessions.
  'only hub/ and identity/provisioning/ read and write packets of MQTT': (file) =>
    importsOf(
      file,
      /^mqtt-packet/,
      (path) => inFolder('agent/hub')(path) || inFolder('agent/identity/provisioning')(path),
    ),

  'only the emulator names its broker and its certificate maker': (file) =>
    importsOf(file, /^(?:aedes|@peculiar\/|reflect-metadata)/, inFolder('emulator')),

  'what runs in the browser imports only from there, and from files that need nothing of Node': (file) =>
    inFolder('emulator/page/browser')(file.path)
      ? imports(file)
          .map(({ target }) => target)
          .filter((target) => !inFolder('emulator/page/browser')(target))
          .filter((target) => !inFile('src/emulator/page/protocol.ts', 'src/core/base/text.ts')(target))
      : [],

  'signals are combined by base/waiting.ts, since AbortSignal.any leaks on Node 20': (file) =>
    found(
      file,
      /\bAbortSignal\.any\b/g,
      // Called once, or once for each scan.
      (path) =>
        inFolder('agent/commands')(path) ||
        inFile(
          'src/agent/composition/deferred-services.ts',
          'src/agent/baseline/isolated-scanner.ts',
          'src/emulator/commands/demo.ts',
        )(path),
    ),

  'only core/command-line/program.ts ends the process': (file) =>
    found(file, /\bprocess\.(?:exit|abort)\b/g, inFile('src/core/command-line/program.ts')),

  'only the demo, make-code-cache, the reader, commands/hardware/ and host/run-tool.ts start other programs': (file) =>
    importsOf(
      file,
      /^(?:node:)?child_process$/,
      inFile(
        'src/emulator/commands/demo.ts',
        'src/agent/commands/make-code-cache.ts',
        'src/agent/commands/hardware/ask.ts',
        'src/agent/reader/child.ts',
        'src/agent/host/run-tool.ts',
      ),
    ),

  'only the child process of --hardware names systeminformation, which runs shells': (file) =>
    importsOf(file, /^systeminformation/, inFile('src/agent/hardware-main.ts')),

  "only the reader's kinds read what another process's memory lock blocks": (file) =>
    found(
      file,
      new RegExp(
        // The kernel's own /proc/cmdline and systemd-boot's etc/kernel/cmdline are not files of a process.
        `(?<!/proc|\\$\\{proc\\}|etc/kernel)/${MEMORY_FILES}(?=['"\`])|['"\`](?:cmdline|environ|maps|smaps|mem)['"\`](?!\\s*:)`,
        'g',
      ),
      // A scan of the baseline runs in a reader; the two files in self/ read the agent's own mappings.
      (path) =>
        inFolder('agent/linux/processes/memory')(path) ||
        inFile(
          'src/agent/baseline/access.ts',
          'src/agent/linux/self/own-memory.ts',
          'src/agent/linux/self/unused-memory.ts',
        )(path),
    ),

  'nothing runs a shell': (file) =>
    found(
      file,
      /\bexecSync\b|\bshell\s*:\s*(?:true|['"`])|\{[^}]*\bexec\b[^}]*\}\s*from\s*['"](?:node:)?child_process['"]/g,
      // Contains names of functions that it looks for in the command lines of other processes.
      inFile('src/agent/detections/views/one-liners.ts'),
    ),

  'nothing is exported as default': (file) => found(file, /\bexport\s+default\b|\bas\s+default\b/g, () => false),
};

const found = ({ path, text }: SourceFile, what: RegExp, allowed: (path: string) => boolean): string[] =>
  allowed(path) ? [] : [...code(text).matchAll(what)].map(([match]) => match);

const importsOf = (file: SourceFile, what: RegExp, allowed: (path: string) => boolean): string[] =>
  allowed(file.path)
    ? []
    : imports(file)
        .map(({ target }) => target)
        .filter((target) => what.test(target));

/** Files that import one another, directly or indirectly, including types. They must be read and changed together. */
const circles = (files: readonly SourceFile[]): string[][] =>
  circlesIn(new Map(files.map((file) => [file.path, imports(file).map(({ target }) => target)])));

/**
 * Folders that import one another. `folderOf` maps a file's path to its folder. Imports within one folder don't count.
 */
function folderCircles(files: readonly SourceFile[], folderOf: (path: string) => string): string[][] {
  const graph = new Map<string, string[]>();
  for (const file of files) {
    const folder = folderOf(file.path);
    const targets = imports(file)
      .filter(inSource)
      .map(({ target }) => folderOf(target));
    graph.set(folder, [...(graph.get(folder) ?? []), ...targets.filter((target) => target !== folder)]);
  }
  return circlesIn(graph);
}

/** A folder with all that is below it, directly in src/agent/linux: `src/agent/linux/audit`. */
const folderOfLinux = (path: string) => path.split('/').slice(0, 4).join('/');

function circlesIn(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const found: string[][] = [];
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  // Tarjan, Depth-first search and linear graph algorithms, 1972.
  const visit = (path: string) => {
    order.set(path, order.size);
    lowest.set(path, order.get(path) ?? 0);
    open.push(path);
    for (const target of graph.get(path) ?? []) {
      if (!graph.has(target)) continue;
      if (!order.has(target)) visit(target);
      else if (!open.includes(target)) continue;
      lowest.set(path, Math.min(lowest.get(path) ?? 0, lowest.get(target) ?? 0));
    }
    if (lowest.get(path) !== order.get(path)) return;
    const circle = open.splice(open.indexOf(path));
    if (circle.length > 1 || graph.get(path)?.includes(path)) found.push(circle.sort());
  };
  for (const path of graph.keys()) if (!order.has(path)) visit(path);
  return found;
}

/** Each rule with a source that breaks it and, for a subtle expression, one that only looks as if it did. */
const PLANTED: Readonly<
  Record<string, { breaks: [path: string, text: string]; keeps?: [path: string, text: string] }>
> = {
  'agent, emulator and fleet import only core and themselves, and core imports none of them': {
    breaks: ['src/core/twin/a.ts', "import type { Collector } from '../../agent/collectors/index.ts';"],
  },
  'every folder imports only from the floors below it': {
    breaks: ['src/agent/linux/deep/er/c.ts', "const x = await import('../../../hub/session.ts');"],
    keeps: ['src/agent/config/a.ts', "// import { x } from '../hub/session.ts';"],
  },
  'time is read and waited for only in base/clock.ts': {
    breaks: ['src/agent/hub/a.ts', 'globalThis.setInterval(ring, 1);'],
    keeps: ['src/agent/hub/b.ts', 'mqttBase.setTimeout(60); const then = new Date(5);'],
  },
  'the agent reads whole files of unknown kind and size only with limits': {
    breaks: ['src/agent/pipeline/a.ts', 'const text = readFileIfThere(this.#file);'],
    keeps: ['src/agent/linux/a.ts', "readFileSync('/proc/self/status', 'latin1'); readFileSync(`/proc/1/stat`);"],
  },
  'only hub/ names the Azure SDK and MQTT': {
    breaks: ['src/agent/commands/a.ts', "const { Mqtt } = await import('azure-iot-device-mqtt');"],
    keeps: ['src/fleet/a.ts', "import azureIotHub from 'azure-iothub';"],
  },
  'only fleet/ names the service SDK': {
    breaks: ['src/agent/hub/a.ts', "import { DeviceMethod } from 'azure-iothub/dist/device_method.js';"],
  },
  'only hub/ and identity/provisioning/ read and write packets of MQTT': {
    breaks: ['src/agent/identity/a.ts', "import 'mqtt-packet';"],
  },
  'only the emulator names its broker and its certificate maker': {
    breaks: ['src/agent/commands/a.ts', "const x509 = require('@peculiar/x509');"],
  },
  'what runs in the browser imports only from there, and from files that need nothing of Node': {
    breaks: ['src/emulator/page/browser/b.ts', "import { join } from 'node:path';"],
  },
  'signals are combined by base/waiting.ts, since AbortSignal.any leaks on Node 20': {
    breaks: ['src/agent/hub/a.ts', 'const end = AbortSignal.any([one, other]);'],
  },
  'only core/command-line/program.ts ends the process': {
    breaks: ['src/agent/commands/run.ts', 'process.exit(1);'],
    keeps: ['src/agent/commands/run.ts', 'process.exitCode = 1;'],
  },
  'only the demo, make-code-cache, the reader, commands/hardware/ and host/run-tool.ts start other programs': {
    breaks: ['src/agent/linux/a.ts', "import { execFile } from 'node:child_process';"],
  },
  'only the child process of --hardware names systeminformation, which runs shells': {
    breaks: ['src/agent/commands/hardware/ask.ts', "import si from 'systeminformation';"],
  },
  "only the reader's kinds read what another process's memory lock blocks": {
    breaks: ['src/agent/linux/a.ts', `readFileSync(\`/proc/\${pid}/cmdline\`);`],
    keeps: ['src/agent/linux/machine/system-facts.ts', `read(\`\${proc}/cmdline\`); read('/proc/cmdline');`],
  },
  'nothing runs a shell': {
    breaks: ['src/emulator/commands/demo.ts', "import { type ChildProcess, exec } from 'node:child_process';"],
    keeps: ['src/emulator/commands/demo.ts', "import { execFile, spawn } from 'node:child_process'; /x/.exec('x');"],
  },
  'nothing is exported as default': { breaks: ['src/agent/hub/b.ts', 'export { x as default };'] },
};

const files = (texts: Readonly<Record<string, string>>): SourceFile[] =>
  Object.entries(texts).map(([path, text]) => ({ path, text }));

describe('architecture', () => {
  const sources = read('src');

  it('MAY_IMPORT names exactly the folders of src', () => {
    const owners = [...new Set(sources.map(({ path }) => ownerOf(path)))];
    assert.deepEqual(Object.keys(MAY_IMPORT).sort(), owners.sort());
  });

  it('no files of src import one another in a circle', () => {
    const planted = files({
      'src/agent/hub/a.ts': "import type { B } from './b.ts';",
      'src/agent/hub/b.ts': "export * from './c.ts';",
      'src/agent/hub/c.ts': "await import('./a.ts');",
      'src/agent/hub/d.ts': "import { a } from './a.ts';",
    });
    assert.deepEqual(circles(planted), [['src/agent/hub/a.ts', 'src/agent/hub/b.ts', 'src/agent/hub/c.ts']]);
    assert.deepEqual(circles(sources), []);
  });

  it('no folders of linux/ import one another in a circle', () => {
    const within = files({
      'src/agent/linux/native/a.ts': "import { b } from './netlink/b.ts';",
      'src/agent/linux/native/netlink/c.ts': "import { d } from '../d.ts';",
    });
    const across = files({
      'src/agent/linux/logins/a.ts': "import type { B } from '../sockets/connections/b.ts';",
      'src/agent/linux/sockets/c.ts': "import { d } from '../logins/d.ts';",
    });
    assert.deepEqual(folderCircles(within, dirname), [['src/agent/linux/native', 'src/agent/linux/native/netlink']]);
    assert.deepEqual(folderCircles(across, folderOfLinux), [['src/agent/linux/logins', 'src/agent/linux/sockets']]);

    const linux = sources.filter(({ path }) => inFolder('agent/linux')(path));
    assert.deepEqual(folderCircles(linux, dirname), []);
    assert.deepEqual(folderCircles(linux, folderOfLinux), []);
  });

  for (const [rule, check] of Object.entries(RULES)) {
    it(rule, () => {
      const faultsOf = ([path, text]: [string, string]) => check({ path, text });
      const { breaks, keeps } = PLANTED[rule] ?? assert.fail('Plant a source that breaks this rule.');
      assert.notDeepEqual(faultsOf(breaks), [], 'the planted fault was not found');
      if (keeps !== undefined) assert.deepEqual(faultsOf(keeps), []);
      assert.deepEqual(
        sources.flatMap((file) => check(file).map((what) => `${file.path}: ${what}`)),
        [],
      );
    });
  }
});
