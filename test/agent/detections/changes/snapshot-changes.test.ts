import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SnapshotParts } from '../../../../src/agent/detections/changes/rows.ts';
import { SnapshotChanges } from '../../../../src/agent/detections/changes/snapshot-changes.ts';
import type { Fields, Subject } from '../../../../src/agent/detections/subject.ts';
import type { Payload } from '../../../../src/core/contract/event.ts';

const AT = new Date('2026-05-01T12:00:00.000Z');

type Rows = readonly Payload[];

/** The changes of the last of these snapshots of one event. */
function changes(event: string, ...snapshots: readonly Rows[]): Subject[] {
  const compared = new SnapshotChanges();
  return snapshots.map((rows) => compared.accept({ event, at: AT, rows, leftOut: 0 })).at(-1) ?? [];
}

/** What rules see, without the fields of the whole row before and after. */
const fieldsOf = (all: readonly Subject[]): Fields[] =>
  all.map(({ fields }) =>
    Object.fromEntries(Object.entries(fields).filter(([name]) => !/^(Before|After)\./.test(name))),
  );

const port = (LocalPort: string, LocalAddress = '0.0.0.0', Executable?: string, Protocol = 'tcp'): Payload => ({
  Protocol,
  LocalAddress,
  LocalPort,
  ExtraDetails: { UserId: '0', Pid: '77', ...(Executable === undefined ? {} : { Executable }) },
});

const ports = (before: Rows, after: Rows) =>
  fieldsOf(changes('ListeningPorts', before, after)).map((fields) =>
    [fields.Change, fields.Protocol, fields.LocalAddress, fields.LocalPort, fields.Executable ?? ''].join(' ').trim(),
  );

describe('SnapshotChanges', () => {
  it('uses the first snapshot as the base', () => {
    assert.deepEqual(changes('ListeningPorts', [port('22'), port('4444')]), []);
  });

  it('treats an empty snapshot as one from which everything was removed', () => {
    assert.deepEqual(ports([port('22')], []), ['removed tcp 0.0.0.0 22']);
  });

  it('reports event, time and row fields of each change', () => {
    const [change] = changes('ListeningPorts', [], [port('4444', '::', '/usr/bin/nc', 'tcp6')]);
    const row = { Protocol: 'tcp6', LocalAddress: '::', LocalPort: '4444', UserId: '0', Executable: '/usr/bin/nc' };
    const after = Object.fromEntries(Object.entries(row).map(([name, value]) => [`After.${name}`, value]));
    assert.deepEqual(change, {
      source: 'listening_port_change',
      time: AT.getTime(),
      fields: { Change: 'added', ...row, ...after },
      views: [],
      event: { name: 'ListeningPorts', ids: [], payload: { Change: 'added', ...row } },
    });
  });

  it('ignores other events', () => {
    assert.deepEqual(changes('SystemInformation', [{ HostName: 'a' }], [{ HostName: 'b' }]), []);
    assert.deepEqual(['LocalUsers', 'SystemInformation'].map(SnapshotChanges.compares), [true, false]);
  });

  describe('SnapshotChanges of ports', () => {
    it('finds opened and closed ports', () => {
      assert.deepEqual(ports([port('22'), port('80')], [port('22'), port('8080')]), [
        'added tcp 0.0.0.0 8080',
        'removed tcp 0.0.0.0 80',
      ]);
    });

    it('ignores another process of the same program, even if its file was replaced', () => {
      const restarted = { ...port('22', '::', '/usr/sbin/sshd (deleted)'), ExtraDetails: { Pid: '9', UserId: '0' } };
      const before = [port('22', '::', '/usr/sbin/sshd')];
      assert.deepEqual(ports(before, [restarted]), []);
      assert.deepEqual(ports(before, [port('22', '::', '/usr/sbin/sshd (deleted)')]), []);
    });

    it('finds another program at a port, and reports nothing if a program is unknown', () => {
      const before = [port('80', '::', '/usr/sbin/nginx')];
      assert.deepEqual(ports(before, [port('80', '::', '/tmp/x')]), ['modified tcp :: 80 /tmp/x']);
      assert.deepEqual(ports(before, [port('80', '::')]), []);
      assert.deepEqual(ports([port('80', '::')], [port('80', '::', '/tmp/x')]), []);
    });

    it('finds the new ports of a range that has grown, and the lost ports of one that has shrunk', () => {
      assert.deepEqual(ports([port('8000-8009')], [port('8000-8011')]), ['added tcp 0.0.0.0 8010-8011']);
      assert.deepEqual(ports([port('8000-8011')], [port('8001-8009'), port('8011')]), [
        'removed tcp 0.0.0.0 8000',
        'removed tcp 0.0.0.0 8010',
      ]);
      assert.deepEqual(ports([port('8000-8011')], [port('8000-8004'), port('8005-8011')]), []);
    });

    it('treats a program with a new address as moved, unless the new one is reachable by more hosts', () => {
      const at = (address: string) => [port('53', address, '/usr/sbin/dnsmasq')];
      assert.deepEqual(ports(at('192.0.2.5'), at('192.0.2.9')), ['modified tcp 192.0.2.9 53 /usr/sbin/dnsmasq']);
      assert.deepEqual(ports(at('127.0.0.1'), at('192.0.2.9')), [
        'added tcp 192.0.2.9 53 /usr/sbin/dnsmasq',
        'removed tcp 127.0.0.1 53 /usr/sbin/dnsmasq',
      ]);
      assert.match(ports(at('192.0.2.5'), at('0.0.0.0'))[0] ?? '', /^added/);
      assert.match(ports(at('192.0.2.5'), [port('53', '192.0.2.9', '/tmp/x')])[0] ?? '', /^added/);
    });

    it('finds exactly the opened and closed ports for any division into rows', () => {
      const range = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 9 }));
      const rows = fc.array(range, { maxLength: 8 });
      const open = (of: readonly (readonly [number, number])[]) =>
        new Set(of.flatMap(([from, more]) => Array.from({ length: more + 1 }, (_, index) => from + index)));
      const numbers = (of: readonly Fields[]) =>
        of.flatMap(({ LocalPort = '' }) => {
          const [from = 0, to = from] = LocalPort.split('-').map(Number);
          return Array.from({ length: to - from + 1 }, (_, index) => from + index);
        });
      const asRows = (of: readonly (readonly [number, number])[]) =>
        of.map(([from, more]) => port(more === 0 ? String(from) : `${from}-${from + more}`));
      fc.assert(
        fc.property(rows, rows, (before, after) => {
          const found = fieldsOf(changes('ListeningPorts', asRows(before), asRows(after)));
          const reported = (change: string) =>
            numbers(found.filter(({ Change }) => Change === change)).sort((a, b) => a - b);
          const [was, is] = [open(before), open(after)];
          assert.deepEqual(
            reported('added'),
            [...is].filter((one) => !was.has(one)).sort((a, b) => a - b),
          );
          assert.deepEqual(
            reported('removed'),
            [...was].filter((one) => !is.has(one)).sort((a, b) => a - b),
          );
        }),
      );
    });
  });

  describe('SnapshotChanges of accounts', () => {
    const user = (UserName: string, UserId: string, GroupNames = UserName, details?: object): Payload => ({
      UserName,
      UserId,
      GroupNames,
      GroupIds: GroupNames.split(';')
        .map((_, index) => 1000 + index)
        .join(';'),
      ...(details === undefined ? {} : { ExtraDetails: details }),
    });
    const users = (before: Rows, after: Rows) =>
      fieldsOf(changes('LocalUsers', before, after)).map(
        ({ Change, UserName, UserId, Group = '', Changed = '' }) =>
          `${Change} ${UserName} ${UserId} ${Group || Changed}`,
      );

    it('finds an added and a removed account', () => {
      assert.deepEqual(users([user('root', '0'), user('a', '1')], [user('root', '0'), user('b', '1')]), [
        'added b 1 ',
        'removed a 1 ',
      ]);
    });

    it('finds an account that became root, and keeps its previous fields', () => {
      const [change] = changes('LocalUsers', [user('a', '1000')], [user('a', '0')]);
      const { Change, UserId, Changed } = change?.fields ?? {};
      assert.deepEqual([Change, UserId, Changed], ['modified', '0', 'UserId']);
      assert.deepEqual([change?.fields['Before.UserId'], change?.fields['After.UserId']], ['1000', '0']);
      assert.deepEqual(
        [change?.event.payload['Before.UserId'], change?.event.payload['After.UserId']],
        ['1000', undefined],
      );
    });

    it('finds a second entry with the same name', () => {
      assert.deepEqual(users([user('daemon', '1')], [user('daemon', '0'), user('daemon', '1')]), [
        'added daemon 1 ',
        'modified daemon 0 UserId',
      ]);
    });

    it('finds each added or removed group, in any order', () => {
      const before = [user('a', '1', 'a;adm;docker')];
      assert.deepEqual(users(before, [user('a', '1', 'a;docker;adm')]), []);
      assert.deepEqual(users(before, [user('a', '1', 'a;adm;sudo;disk')]), [
        'group_added a 1 sudo',
        'group_added a 1 disk',
        'group_removed a 1 docker',
      ]);
      assert.deepEqual(users(before, [user('a', '1', 'adm;a;docker')]), ['modified a 1 GroupNames']);
    });

    it('finds an unlocked account, and ignores omitted details', () => {
      const locked = [user('a', '1', 'a', { Password: 'locked', Shell: '/bin/sh' })];
      assert.deepEqual(users(locked, [user('a', '1', 'a', { Password: 'set', Shell: '/bin/sh' })]), [
        'modified a 1 Password',
      ]);
      assert.deepEqual(users(locked, [user('a', '1')]), []);
    });
  });

  describe('SnapshotChanges of the firewall', () => {
    const details = (Target: string, more: object = {}) => ({
      ExtraDetails: { Origin: 'nftables', Family: 'inet', Table: 'filter', Target, ...more },
    });
    const policy = (Action: string, Direction: string | undefined, Enabled = true): Payload => ({
      Enabled,
      Action,
      Priority: 9,
      ChainName: Direction === undefined ? 'forward' : Direction.toLowerCase(),
      ...(Direction === undefined ? {} : { Direction }),
      ...details(`policy ${Action === 'Deny' ? 'drop' : 'accept'}`),
    });
    const rule = (Action: string, fields: object = {}, more: object = {}): Payload => ({
      Enabled: true,
      Action,
      Priority: 0,
      ChainName: 'in',
      Direction: 'In',
      ...fields,
      ...details(Action === 'Allow' ? 'accept' : 'drop', more),
    });
    const NOTHING = [
      { ChainName: 'INPUT', Enabled: false, Action: 'Allow', Direction: 'In' },
      { ChainName: 'OUTPUT', Enabled: false, Action: 'Allow', Direction: 'Out' },
      { ChainName: 'FORWARD', Enabled: false, Action: 'Allow' },
    ];
    const reported = (before: Rows, after: Rows) =>
      fieldsOf(changes('FirewallConfiguration', before, after)).map(
        ({ Kind, Change, Direction = 'forward', Action, Enabled, Before = '', BeforeEnabled = '' }) =>
          `${Kind} ${Change} ${Direction} ${Before}>${Action} ${BeforeEnabled}>${Enabled}`,
      );

    it('finds a policy that was opened', () => {
      assert.deepEqual(reported([policy('Deny', 'In')], [policy('Allow', 'In')]), [
        'policy modified In Deny>Allow true>true',
      ]);
    });

    it('finds a policy that packets no longer reach', () => {
      assert.deepEqual(reported([policy('Deny', 'In')], [policy('Deny', 'In', false)]), [
        'policy modified In Deny>Deny true>false',
      ]);
    });

    it('reports an emptied firewall as modified policies', () => {
      const before = [rule('Allow', { DestinationPort: '22' }), policy('Deny', 'In'), policy('Deny', undefined)];
      const found = reported(before, NOTHING);
      assert.ok(found.includes('policy modified In Deny>Allow true>false'), found.join('\n'));
      assert.ok(found.includes('policy modified forward Deny>Allow true>false'), found.join('\n'));
      assert.equal(found.filter((one) => one.startsWith('policy added')).length, 0);
      assert.deepEqual(reported(NOTHING, NOTHING), []);
    });

    it('finds an emptied firewall that had rules but no policy that denies', () => {
      const found = reported([rule('Deny', { DestinationPort: '23' }), policy('Allow', 'In')], NOTHING);
      assert.ok(found.includes('policy modified In Deny>Allow true>false'), found.join('\n'));
    });

    it("does not treat the kernel's default policies as an emptied firewall", () => {
      assert.deepEqual(reported([policy('Allow', 'In')], NOTHING), ['policy removed In >Allow >true']);
    });

    it('finds the removal of the last rule, which denied everything', () => {
      const open = [rule('Allow', { DestinationPort: '22' }), policy('Allow', 'In')];
      assert.deepEqual(reported([...open, rule('Deny')], open), [
        'rule removed In >Deny >true',
        'policy modified In Deny>Allow true>true',
      ]);
      assert.deepEqual(
        reported([...open, rule('Deny'), policy('Deny', 'Out')], [...open, policy('Deny', 'In')]).at(-1),
        'policy modified Out Deny>Allow true>true',
      );
    });

    it('reports an opened policy once even if the deny-all rule was removed with it', () => {
      assert.deepEqual(reported([rule('Deny'), policy('Deny', 'In')], [policy('Allow', 'In')]), [
        'rule removed In >Deny >true',
        'policy modified In Deny>Allow true>true',
      ]);
    });

    it('reports a removed forward policy only if it was the only one', () => {
      assert.deepEqual(reported([policy('Deny', 'In'), policy('Deny', undefined)], [policy('Deny', 'In')]), [
        'policy removed forward >Deny >true',
      ]);
    });

    it("ignores changes of a rule's position and of elements in its sets", () => {
      const [a, b] = [rule('Allow', { DestinationPort: '22' }), rule('Deny', { DestinationPort: '23' })];
      assert.deepEqual(
        reported(
          [a, b],
          [
            { ...b, Priority: 0 },
            { ...a, Priority: 1 },
          ],
        ),
        [],
      );
      const banned = (Sets: string) => rule('Deny', { SourceAddress: '@f2b' }, { Sets });
      const [change] = changes('FirewallConfiguration', [banned('1.2.3.4')], [banned('5.6.7.8')]);
      assert.deepEqual([change?.fields.Change, change?.fields.Changed], ['modified', 'Sets']);
    });

    it('finds added, changed and repeated rules', () => {
      const narrow = rule('Allow', { SourceAddress: '10.0.0.0/8' });
      assert.deepEqual(reported([narrow], [rule('Allow')]), [
        'rule added In >Allow >true',
        'rule removed In >Allow >true',
      ]);
      assert.deepEqual(reported([narrow], [narrow, narrow]), ['rule added In >Allow >true']);
    });

    it('reports further matches of a rule', () => {
      const other = (row: Payload) => changes('FirewallConfiguration', [], [row])[0]?.fields.OtherMatches;
      assert.equal(other(rule('Allow', {}, { Comment: 'mine' })), undefined);
      assert.equal(
        other(rule('Allow', {}, { CtState: 'established', InInterface: 'lo' })),
        'CtState established; InInterface lo',
      );
      assert.equal(other({ ...rule('Allow'), ExtraDetails: { Matches: 'iif lo' } }), 'Matches iif lo');
    });

    it('ignores rules that have lost their matches', () => {
      const compared = new SnapshotChanges();
      const bare = { ...rule('Allow'), ExtraDetails: {} };
      compared.accept({ event: 'FirewallConfiguration', at: AT, rows: [policy('Deny', 'In')], leftOut: 0 });
      const rows = [policy('Deny', 'In'), bare];
      const found = compared.accept({ event: 'FirewallConfiguration', at: AT, rows, leftOut: 0, lackDetails: true });
      assert.deepEqual(fieldsOf(found), [
        { Event: 'SnapshotIncomplete', Collector: 'FirewallConfiguration', OmittedElements: '1' },
      ]);
    });
  });

  describe('SnapshotChanges of hardware', () => {
    const device = (HardwareName: string, details: Record<string, string> = {}, HardwareCategory = 'USB'): Payload => ({
      HardwareCategory,
      HardwareSubCategory: 'Keyboard',
      HardwareName,
      ExtraDetails: { Serial: '1', Bus: '1-1', ...details },
    });
    const reported = (before: Rows, after: Rows) =>
      fieldsOf(changes('ConnectedHardware', before, after)).map(
        ({ Change, HardwareName, Bus = 'no bus', BusAddress = '' }) => `${Change} ${HardwareName} ${Bus} ${BusAddress}`,
      );

    it('finds connected and disconnected devices, and their bus', () => {
      assert.deepEqual(reported([device('a')], [device('b')]), ['added b usb 1-1', 'removed a usb 1-1']);
    });

    it('lists a device by its function without a bus, so that it counts once as a USB device', () => {
      assert.deepEqual(reported([], [device('disk', {}, 'Block')]), ['added disk no bus 1-1']);
      assert.deepEqual(reported([], [device('k', { Bus: 'usb' }, 'Peripheral')]), ['added k usb ']);
    });

    it('ignores a device that moved to another socket, and counts equal ones', () => {
      assert.deepEqual(reported([device('a')], [device('a', { Bus: '2-4' })]), []);
      assert.deepEqual(reported([device('a')], [device('a'), device('a', { Bus: '2-4' })]), ['added a usb 2-4']);
      assert.deepEqual(reported([device('a', { Driver: 'x' })], [device('a', { Driver: 'y' })]), [
        'modified a usb 1-1',
      ]);
    });
  });

  it('compares hardening rules by their result, not by the found value', () => {
    const row = (CceId: string, Result: string, found: string): Payload => ({
      CceId,
      Description: CceId,
      Result,
      Error: found,
    });
    const before = [row('a', 'Fail', '1'), row('b', 'Fail', '2'), row('c', 'Fail', '3')];
    const after = [row('a', 'Fail', '9'), row('b', 'Err', '2'), row('d', 'Fail', '4')];
    assert.deepEqual(
      fieldsOf(changes('OSBaseline', before, after)).map(({ Change, CceId }) => `${Change} ${CceId}`),
      ['added d', 'removed c', 'modified b'],
    );
  });

  describe('SnapshotChanges with missing rows', () => {
    const snapshot = (leftOut: number, ...rows: Rows) => ({ event: 'ListeningPorts', at: AT, rows, leftOut });
    const reported = (compared: SnapshotChanges, leftOut: number, ...open: readonly string[]) =>
      fieldsOf(compared.accept(snapshot(leftOut, ...open.map((one) => port(one))))).map(
        ({ Change, LocalPort, Event, OmittedElements }) =>
          Event === undefined ? `${Change} ${LocalPort}` : `${Event} ${OmittedElements}`,
      );

    it('reports no row as removed until a complete snapshot lacks it', () => {
      const compared = new SnapshotChanges();
      reported(compared, 0, '1', '2', '3');
      assert.deepEqual(reported(compared, 7, '1', '4'), ['added 4', 'SnapshotIncomplete 7']);
      assert.deepEqual(compared.incomplete(), { ListeningPorts: 7 });
      assert.deepEqual(reported(compared, 3, '1', '4'), [], 'reported once');
      assert.deepEqual(reported(compared, 0, '1', '3', '5'), ['added 5', 'removed 2', 'removed 4']);
      assert.deepEqual(compared.incomplete(), {});
    });

    it('reports no row as new before the first complete snapshot', () => {
      const compared = new SnapshotChanges();
      assert.deepEqual(reported(compared, 1, '1', '2'), ['SnapshotIncomplete 1']);
      assert.deepEqual(reported(compared, 1, '1', '3'), []);
      assert.deepEqual(reported(compared, 0, '1', '9'), ['removed 2', 'removed 3'].sort());
      assert.deepEqual(reported(compared, 0, '1', '9', '10'), ['added 10']);
    });
  });

  describe('SnapshotChanges after a restart', () => {
    const restarted = (compared: SnapshotChanges) => {
      const next = new SnapshotChanges();
      next.restore(JSON.parse(JSON.stringify(compared.toJson())));
      return next;
    };
    const accept = (compared: SnapshotChanges, rows: Rows) =>
      fieldsOf(compared.accept({ event: 'LocalUsers', at: AT, rows, leftOut: 0 }));

    it('keeps the base', () => {
      const compared = new SnapshotChanges();
      accept(compared, [{ UserName: 'a', UserId: '1', GroupNames: 'a', GroupIds: '1' }]);
      const found = accept(restarted(compared), [{ UserName: 'a', UserId: '0', GroupNames: 'a', GroupIds: '1' }]);
      assert.deepEqual(
        found.map(({ Change, Changed }) => [Change, Changed]),
        [['modified', 'UserId']],
      );
    });

    it('keeps tens of thousands of rows in little space, and still finds differences', () => {
      const rows = Array.from({ length: 6_000 }, (_, index) => ({
        UserName: `account-with-a-long-name-${index}`,
        UserId: String(index + 1_000),
        GroupNames: 'users;dialout',
        GroupIds: '100;20',
      }));
      const compared = new SnapshotChanges();
      accept(compared, rows);
      assert.ok(JSON.stringify(compared.toJson()).length < 400_000);
      const next = restarted(compared);
      const last = { ...rows[5_999], UserId: '0' };
      const found = accept(next, [...rows.slice(0, -1), last, { ...last, UserName: 'new' }]);
      assert.deepEqual(
        found.map(({ Change, UserName }) => `${Change} ${UserName}`),
        ['added new', 'modified account-with-a-long-name-5999'],
      );
    });

    it('reports that it cannot compare more rows than it keeps', () => {
      const rows = Array.from({ length: 20_000 }, (_, index) => ({ UserName: `u${index}`, UserId: '1' }));
      const compared = new SnapshotChanges();
      const [change] = accept(compared, rows);
      assert.equal(change?.Event, 'SnapshotIncomplete');
      assert.ok((compared.incomplete().LocalUsers ?? 0) > 1_000);
      assert.ok(JSON.stringify(compared.toJson()).length < 500_000);
    });

    it('starts with an empty base if the file is damaged', () => {
      for (const damaged of [
        null,
        5,
        [],
        { LocalUsers: 5 },
        { LocalUsers: { rows: [5], digests: [] } },
        { LocalUsers: { rows: [{ a: 1 }], digests: [] } },
      ]) {
        const compared = new SnapshotChanges();
        compared.restore(damaged);
        assert.deepEqual(accept(compared, [{ UserName: 'a' }]), []);
        assert.deepEqual(accept(compared, [{ UserName: 'a' }, { UserName: 'b' }]).length, 1);
      }
    });
  });
});

describe('SnapshotParts', () => {
  const row = (LocalPort: string, ExtraDetails?: Record<string, string>): Payload => ({
    LocalPort,
    ...(ExtraDetails === undefined ? {} : { ExtraDetails }),
  });
  const label = (Part: number, Parts: number, SnapshotId: string) => ({
    Part: `${Part}`,
    Parts: `${Parts}`,
    SnapshotId,
  });

  it('returns the payload itself if there is one part', () => {
    const rows = [row('1'), row('2', { OmittedElements: '3', OmittedDetails: '2' })];
    assert.deepEqual(new SnapshotParts().accept('ListeningPorts', rows), { rows, leftOut: 3, lackDetails: true });
    assert.deepEqual(new SnapshotParts().accept('LocalUsers', []), { rows: [], leftOut: 0, lackDetails: false });
  });

  it('waits for all parts, in any order', () => {
    const parts = new SnapshotParts();
    const [one, two] = [row('1', label(1, 2, 'x')), row('2', { ...label(2, 2, 'x'), OmittedElements: '4' })];
    assert.equal(parts.accept('ListeningPorts', [two]), undefined);
    assert.equal(parts.accept('LocalUsers', [row('9', label(1, 2, 'x'))]), undefined);
    const whole = parts.accept('ListeningPorts', [one]);
    assert.deepEqual([whole?.rows, whole?.leftOut], [[one, two], 4]);
  });

  it('drops an incomplete snapshot when the next one starts', () => {
    const parts = new SnapshotParts();
    parts.accept('ListeningPorts', [row('1', label(1, 2, 'x'))]);
    assert.equal(parts.accept('ListeningPorts', [row('2', label(2, 2, 'y'))]), undefined);
    assert.equal(parts.accept('ListeningPorts', [row('1', label(1, 2, 'y'))])?.rows.length, 2);
  });
});
