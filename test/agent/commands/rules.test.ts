import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { run } from '../../../src/agent/commands/rules.ts';
import { builtInDocuments, builtInFolder } from '../../../src/agent/detections/built-in.ts';
import { readRuleSet } from '../../../src/agent/detections/sigma/rule-set.ts';
import { UsageError, type World } from '../../../src/core/command-line/command.ts';
import { asNobody } from '../../harness/nobody.ts';
import { require } from '../../harness/require.ts';
import { worldOf } from './world.ts';

const ID = '5a4e0c1c-5a5e-4c77-9d59-6c0b0f1d2a31';
const RULE = `title: Strange program
id: ${ID}
level: high
logsource: { category: process_creation }
detection:
  s: { Image|endswith: /strange }
  condition: s
vakt: { alert: VAKT_Strange, requires: [allowedPorts] }
`;

const start = (Executable: string, pid: number, parent = 1) => ({
  Name: 'ProcessCreate',
  Id: `id-${pid}`,
  TimestampUTC: '2026-10-05T06:00:00.000Z',
  Payload: [{ Executable, CommandLine: Executable, ProcessId: pid, ParentProcessId: parent }],
});

describe('vakt rules', () => {
  let folder: string;
  let out: string[];
  let errors: string[];
  let world: World;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'vakt-rules-'));
    out = [];
    errors = [];
    world = worldOf((line) => out.push(line), { stderr: (line) => errors.push(line) });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const file = (name: string, content: unknown): string => {
    const path = join(folder, name);
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
    return path;
  };
  const parsed = () => out.map((line) => JSON.parse(line));

  it('rules list shows the shipped rules that raise alerts', async () => {
    assert.equal(await run(['list', '--json', '--rules', folder], world), 0);
    const alerting = readRuleSet(builtInDocuments()).rules.filter(({ facts }) => facts.alerts);
    assert.deepEqual(
      parsed().map(({ id }) => id),
      alerting.map(({ facts }) => facts.id),
    );
    out = [];
    assert.equal(await run(['list', '--rules', folder], world), 0);
    assert.match(out[0] ?? '', /^ID +LEVEL +ALERT +ORIGIN +STATE +TITLE$/);
    assert.equal(out.length, alerting.length + 1);
  });

  it('rules lists and explains local rules, and names the rejected ones', async function () {
    require(this, process.getuid?.() === 0 ? undefined : 'own rules must belong to root');
    file('own.yml', RULE);
    const bad = file('bad.yml', 'title: x\n');
    assert.equal(await run(['list', '--json', '--rules', folder], world), 1);
    const { origin, file: where, requires } = parsed().find(({ id }) => id === ID);
    assert.deepEqual([origin, where, requires], ['local', join(folder, 'own.yml'), ['allowedPorts']]);
    assert.match(errors.join(), new RegExp(`^${bad}:1: `));
    out = [];
    assert.equal(await run(['explain', ID, '--rules', folder], world), 0);
    assert.equal(out[0], 'Strange program');
    assert.equal(errors.length, 2);
  });

  it('rules list shows a rule as off if no event can match it', async function () {
    require(this, process.getuid?.() === 0 ? undefined : 'own rules must belong to root');
    const logsource = 'logsource: { category: dns_query }';
    const text = RULE.replace(/logsource.*/, logsource).replace('Image|endswith: /strange', 'QueryName: x');
    file('own.yml', text.replace(/, requires.*\]/, ''));
    await run(['list', '--json', '--rules', folder], world);
    assert.equal(parsed().find(({ id }) => id === ID).off, 'noEvent');
    out = [];
    await run(['list', '--rules', folder], world);
    assert.match(
      out.find((line) => line.startsWith(ID)) ?? '',
      / off: no collector reports such events +Strange program$/,
    );
  });

  it('rules check reports all faults in files with their lines', async () => {
    const good = file('good.yml', RULE);
    const bad = file(
      'bad.yml',
      `${RULE.replace(`id: ${ID}`, 'id: 5a4e0c1c-5a5e-4c77-9d59-6c0b0f1d2a32')}---\n${RULE.replace('/strange }', '/strange, Color: red }')}---\n${RULE.replace('condition: s', 'condition: t')}`,
    );
    assert.equal(await run(['check', good], world), 0);
    assert.deepEqual(errors, []);
    assert.equal(await run(['check', folder], world), 1);
    assert.deepEqual(errors, [
      `${bad}:15: events of process_creation have no field "Color"`,
      `${bad}:25: no selection is called "t"`,
    ]);
    assert.equal(out.at(-1), '1 rule is fine, 1 file is refused.');
  });

  it('rules check fails and names the files in a folder that the agent does not read', async () => {
    file('good.yml', RULE);
    const other = file('other.yaml', RULE.replace(`id: ${ID}`, 'id: 5a4e0c1c-5a5e-4c77-9d59-6c0b0f1d2a32'));
    mkdirSync(join(folder, 'more'));
    file('more/inner.yml', RULE.replace(`id: ${ID}`, 'id: 5a4e0c1c-5a5e-4c77-9d59-6c0b0f1d2a33'));
    file('notes.txt', 'no rule');
    assert.equal(await run(['check', folder], world), 1);
    assert.deepEqual(errors, [
      `${join(folder, 'more/')}: it is a folder: only rules beside it are read`,
      `${other}: its name does not end in .yml`,
    ]);
    assert.equal(out.at(-1), '1 rule is fine, 2 files are refused.');
    assert.equal(await run(['check', other], world), 0);
  });

  it('rules check warns of rules that never match and of ids that are not UUIDs, and accepts the file', async () => {
    const unseen = RULE.replace(/logsource.*/, 'logsource: { product: linux, category: dns_query }');
    const path = file(
      'unseen.yml',
      unseen.replace('Image|endswith: /strange', 'QueryName: x').replace(ID, 'not-a-uuid'),
    );
    assert.equal(await run(['check', path], world), 0);
    const title = /title: (.*)/.exec(RULE)?.[1];
    assert.deepEqual(errors, [
      `${path}: the rule "${title}" never matches: no collector reports such events (dns_query)`,
      `${path}: the rule "${title}" has the id "not-a-uuid", which is not a UUID as Sigma requires`,
    ]);
    assert.deepEqual(out, ['0 rules are fine, 2 warnings, 0 files are refused.']);
  });

  describe('rules check, with the shipped rules', () => {
    const shipped = readRuleSet(builtInDocuments()).rules.find(({ is, facts }) => is === 'detection' && facts.alerts);
    const [source = ''] = shipped?.facts.sources ?? [];
    const logsource = ['process_creation', 'network_connection'].includes(source)
      ? `{ category: ${source} }`
      : `{ service: vakt, category: ${source} }`;
    const filter = (id = '') => `title: Ours
logsource: ${logsource}
filter:
  rules: [${id}]
  f: { User: builder }
  condition: not f
`;

    it('rules check accepts a filter for a shipped rule, and rejects a filter for an unknown rule', async () => {
      assert.equal(await run(['check', file('f.yml', filter(shipped?.facts.id))], world), 0);
      assert.deepEqual([errors, out], [[], ['1 rule is fine, 0 files are refused.']]);
      assert.equal(await run(['check', file('f.yml', filter('nobody'))], world), 1);
      assert.match(errors[0] ?? '', /f.yml:4: there is no rule "nobody"/);
    });

    it('rules check rejects a rule with the id of a shipped rule', async () => {
      const path = file('dup.yml', RULE.replace(`id: ${ID}`, `id: ${shipped?.facts.id}`));
      assert.equal(await run(['check', path], world), 1);
      assert.match(errors[0] ?? '', /dup.yml:2: the id ".*" is already used by another rule, in shipped .*\.yml/);
    });

    it('rules check accepts the source of a shipped rule', async () => {
      const source = join(builtInFolder(), 'reverse_shell.yml');
      assert.equal(await run(['check', relative(process.cwd(), source)], world), 0);
      assert.deepEqual(errors, []);
    });
  });

  const cases = {
    lists: { allowedPorts: [1] },
    listBound: ['VAKT_Strange'],
    cases: [
      { case: 'bound', alert: 'VAKT_Strange', events: [start('/tmp/strange', 1)] },
      { case: 'free', alert: 'VAKT_Other', events: [start('/tmp/strange', 1)] },
      { case: 'none', alert: 'VAKT_Strange', events: [start('/tmp/plain', 1)] },
    ],
    benign: [start('/tmp/strange', 1)],
  };
  const alert = { alert: 'VAKT_Strange', level: 'high', rule: ID };

  it('rules check rejects a folder that it may not read', async () => {
    chmodSync(folder, 0o311);
    const closed = asNobody(() => run(['check', folder], world));
    await assert.rejects(closed, { name: 'UsageError', message: /cannot be read: EACCES/ });
  });

  it('rules test applies the lists only to cases of list-bound alerts', async () => {
    assert.equal(await run(['test', file('r.yml', RULE), '--cases', file('c.json', cases), '--json'], world), 0);
    assert.deepEqual(parsed(), [
      { case: 'bound', alerts: [alert] },
      { case: 'free', alerts: [] },
      { case: 'none', alerts: [] },
    ]);
  });

  it('rules test evaluates each benign event separately', async () => {
    const rule = RULE.replace(/, requires.*\]/, '');
    assert.equal(await run(['test', file('r.yml', rule), '--cases', file('c.json', cases), '--json'], world), 0);
    assert.deepEqual(parsed().at(-1), { benign: 0, alerts: [alert] });
  });

  it('rules test finds a parent process only among earlier events of the same case', async () => {
    const rule = RULE.replace('Image', 'ParentImage').replace(/, requires.*\]/, '');
    const events = [start('/tmp/strange', 7), start('/bin/ls', 8, 7)];
    const two = {
      cases: [
        { case: 'with', events },
        { case: 'without', events: [events[1]] },
      ],
    };
    await run(['test', file('r.yml', rule), '--cases', file('c.json', two), '--json'], world);
    assert.deepEqual(parsed(), [
      { case: 'with', alerts: [alert] },
      { case: 'without', alerts: [] },
    ]);
  });

  it('rules test finds the user name of a connection among earlier events', async () => {
    const connections = RULE.replace('process_creation', 'network_connection').replace(/, requires.*\]/, '');
    const [started] = start('/bin/ls', 7).Payload;
    const connection = {
      Direction: 'Out',
      RemoteAddress: '192.0.2.1',
      RemotePort: '80',
      Executable: '/bin/nc',
      UserId: '33',
    };
    const events = [
      { Name: 'ProcessCreate', Payload: [{ ...started, UserId: '33', UserName: 'www-data' }] },
      { Name: 'ConnectionCreate', Payload: [connection] },
    ];
    const rule = file('r.yml', connections.replace('Image|endswith: /strange', 'User: www-data'));
    await run(['test', rule, '--cases', file('c.json', { cases: [{ case: 'web', events }] }), '--json'], world);
    assert.deepEqual(parsed(), [{ case: 'web', alerts: [alert] }]);
  });

  it('rules test counts each element of an event separately', async () => {
    const three = `title: Three
id: ${ID}
level: high
correlation:
  type: event_count
  rules: [one]
  group-by: [Image]
  timespan: 1m
  condition: { gte: 3 }
---
${RULE.replace(`id: ${ID}`, 'name: one').replace(/, requires.*\]/, '')}`;
    const [element] = start('/tmp/strange', 1).Payload;
    const event = { ...start('/tmp/strange', 1), Payload: [1, 2, 3].map((pid) => ({ ...element, ProcessId: pid })) };
    await run(['test', file('r.yml', three), '--cases', file('c.json', { benign: [event] }), '--json'], world);
    assert.deepEqual(parsed(), [{ benign: 0, alerts: [{ ...alert, alert: 'VAKT_CustomAlert' }] }]);
  });

  for (const [text, why] of [
    [{ cases: [{ case: 'x' }] }, /the case "x" of .* has no "events"/],
    [{ cases: [{ case: 'x', events: {} }] }, /"events" of the case "x" of .* is not a list/],
    [{ cases: [null] }, /case 1 of .* has no name/],
    [{ cases: [{ events: [] }] }, /case 1 of .* has no name/],
    [{ cases: {} }, /"cases" of .* is not a list/],
    [{ benign: 1 }, /"benign" of .* is not a list/],
    [{ cases: [], lists: { allowedUsers: 'bob' } }, /"allowedUsers" in "lists" of .* is not a list/],
    [{ cases: [], lists: null }, /"lists" of .* is not an object/],
    [{ cases: [], listBound: null }, /"listBound" of .* is not a list/],
    [[], /has no cases/],
    [null, /has no cases/],
    [{}, /neither "cases" nor "benign"/],
    ['{', /is not JSON/],
    ['{"cases":[{"case":"x","events":[],"events":[]}]}', /c\.json has cases\.events twice in one object/],
  ] as const)
    it(`rules test rejects the cases ${JSON.stringify(text)} with the reason`, () =>
      assert.rejects(
        run(['test', file('r.yml', RULE), '--cases', file('c.json', text)], world),
        (error: Error) => error instanceof UsageError && why.test(error.message),
      ));

  it('rules test compares snapshots within a case', async () => {
    const rule = `title: Port
id: port
logsource: { service: vakt, category: listening_port_change }
detection:
  s: { Change: added, LocalPort: "4444" }
  condition: s
`;
    const ports = (...all: string[]) => ({
      Name: 'ListeningPorts',
      TimestampUTC: '2026-10-05T06:00:00.000Z',
      Payload: all.map((LocalPort) => ({ Protocol: 'tcp', LocalAddress: '0.0.0.0', LocalPort })),
    });
    const two = {
      cases: [
        { case: 'new', events: [ports('22'), ports('22', '4444')] },
        { case: 'base', events: [ports('22', '4444')] },
      ],
    };
    await run(['test', file('r.yml', rule), '--cases', file('c.json', two), '--json'], world);
    assert.deepEqual(
      parsed().map(({ case: name, alerts }) => [name, alerts.length]),
      [
        ['new', 1],
        ['base', 0],
      ],
    );
  });

  it('rules test evaluates messages, events and payloads, and reports all other lines', async () => {
    const event = start('/tmp/strange', 1);
    const lines = [
      { AgentVersion: '1', Events: [event, start('/bin/ls', 2)] },
      event,
      event.Payload[0],
      { nothing: 1 },
    ].map((line) => JSON.stringify(line));
    const rule = file('r.yml', RULE.replace(/, requires.*\]/, ''));
    assert.equal(
      await run(['test', rule, '--events', file('e.jsonl', `${lines.join('\n')}\nno JSON\n`), '--json'], world),
      1,
    );
    const hit = { event: 'ProcessCreate', alerts: [alert] };
    assert.deepEqual(parsed(), [
      { line: 1, ...hit, event: 'ProcessCreate', id: 'id-1' },
      { line: 2, ...hit, id: 'id-1' },
      { line: 3, ...hit },
    ]);
    assert.deepEqual(
      errors,
      [4, 5].map((line) => `Line ${line} is neither a message, an event nor a payload.`),
    );
  });

  it('rules test reads messages with properties from recordings, dry runs and routes to storage', async () => {
    const message = { AgentVersion: '1', Events: [start('/tmp/strange', 1)] };
    const text = JSON.stringify(message);
    const lines = [
      { applicationProperties: {}, body: text },
      { application: {}, body: message },
      { Properties: {}, Body: Buffer.from(text).toString('base64') },
    ].map((line) => JSON.stringify(line));
    const rule = file('r.yml', RULE.replace(/, requires.*\]/, ''));
    assert.equal(await run(['test', rule, '--events', file('e.jsonl', lines.join('\n')), '--json'], world), 0);
    assert.deepEqual(
      parsed().map(({ line, id }) => [line, id]),
      [1, 2, 3].map((line) => [line, 'id-1']),
    );
  });

  it('rules test fails if there is no event', async () => {
    assert.equal(await run(['test', '--events', file('e.jsonl', '\n')], world), 1);
    assert.deepEqual(errors, ['No event was evaluated.']);
  });

  it('rules test fails if a rule file is invalid, but evaluates the other files', async () => {
    const bad = file('bad.yml', 'title: x\n');
    assert.equal(await run(['test', bad, file('r.yml', RULE), '--cases', file('c.json', cases), '--json'], world), 1);
    assert.deepEqual(parsed()[0], { case: 'bound', alerts: [alert] });
    assert.match(errors[0] ?? '', /bad.yml:1: the document needs one of/);
  });

  it('rules explain shows the conditions and the techniques of each selection', async function () {
    require(this, process.getuid?.() === 0 ? undefined : 'own rules must belong to root');
    file(
      'own.yml',
      `title: Own
id: own
level: low
logsource: { category: process_creation }
falsepositives: [Tests]
detection:
  tool: { Image|endswith: [/a, /b], CommandLine|re|expand: '%command%nc -l' }
  folder: { CurrentDirectory|startswith: /dev/shm }
  allowed: { Image|expand: '%allowedProcesses%' }
  condition: (tool or folder) and not allowed
vakt: { alert: VAKT_Own, lowered: [packages], remediation: Look., selections: { tool: [attack.t1059.004] } }
`,
    );
    assert.equal(await run(['explain', 'own', '--rules', folder], world), 0);
    const shown = out.map((line) => line.replace(/^( *\w[\w ]*:) +/, '$1 '));
    const at = (line: string) => shown.indexOf(line);
    assert.ok(
      at('  level: low: counted only; raises alerts if the minimum level is low, not medium as by default') > 0,
    );
    assert.ok(at('  lowered by: a trusted actor that started it, to informational:') > 0);
    assert.match(shown.find((line) => line.includes(' packages: ')) ?? '', / packages: .*\bdpkg, .*\bapt\b/);
    const from = at('  looks for: (tool or folder) and not allowed');
    assert.deepEqual(shown.slice(from + 1, from + 12), [
      '    tool (attack.t1059.004):',
      '      all of:',
      '        any of:',
      '          Image ends with /a',
      '          Image ends with /b',
      '        CommandLine has a command that matches nc -l',
      '    folder:',
      '      CurrentDirectory begins with /dev/shm',
      '    allowed:',
      '      Image is in the list allowedProcesses',
      '  also raised by: Tests',
    ]);
    out = [];
    await run(['explain', 'VAKT_NewListeningPort', '--rules', folder], world);
    assert.ok(out.includes('        LocalAddress is an address in 127.0.0.0/8'));
  });

  it('rules explain shows the conditions of every shipped rule', async () => {
    for (const { facts } of readRuleSet(builtInDocuments()).rules) {
      out = [];
      assert.equal(await run(['explain', facts.id, '--rules', folder], world), 0);
      assert.ok(
        out.some((line) => /^ {2}looks for: +\S/.test(line)),
        facts.title,
      );
    }
  });

  it('rules explain finds a rule by its id and by its alert', async () => {
    const [first] = readRuleSet(builtInDocuments()).rules.filter(({ facts }) => facts.alert !== undefined);
    assert.ok(first);
    const { id, alert: type = '', title, remediation = '' } = first.facts;
    for (const name of [id, type]) {
      out = [];
      assert.equal(await run(['explain', name], world), 0);
      assert.ok(out.includes(title));
      assert.ok(out.some((line) => line.startsWith('  what to do:') && line.endsWith(remediation)));
    }
    await assert.rejects(run(['explain', 'IoT_CryptoMinor'], world), /did you mean "IoT_CryptoMiner"/);
  });

  for (const [args, why] of [
    [[], /list, check, test or explain is missing/],
    [['lst'], /did you mean|list/],
    [['check'], /takes the files/],
    [['check', '/nowhere.yml'], /does not exist/],
    [['check', '/dev/null/x.yml'], /cannot be read: ENOTDIR/],
    [['test'], /either --cases or --events/],
    [['test', '--cases', 'a', '--events', 'b'], /either --cases or --events/],
    [['test', '--cases', '/nowhere'], /cannot be read/],
    [['test', '--events', '/nowhere'], /cannot be read: ENOENT/],
    [['test', '--events', '/'], /cannot be read: EISDIR/],
    [['list', 'x'], /unexpected argument/],
    [['list', '--rules', '/nowhere'], /is not a directory/],
    [['explain', 'x', '--rules', '/dev/null/x'], /cannot be read: ENOTDIR/],
    [['list', '--cases', 'x'], /belong to "vakt rules test"/],
    [['explain'], /takes the id/],
  ] as const)
    it(`rules rejects ${args.join(' ') || 'a call without arguments'}`, () =>
      assert.rejects(run(args, world), (error: Error) => error instanceof UsageError && why.test(error.message)));
});
