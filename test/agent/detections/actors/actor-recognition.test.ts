import assert from 'node:assert/strict';
import { ActorRecognition } from '../../../../src/agent/detections/actors/actor-recognition.ts';
import {
  ACTOR_KINDS,
  TRUSTED_ACTORS,
  type TrustedActor,
} from '../../../../src/agent/detections/actors/trusted-actors.ts';
import type { FileFacts, ProcessThen } from '../../../../src/core/contract/ancestry.ts';

/** An example for each row that has paths besides programs, or instead of them. */
const SCRIPTS: Readonly<Record<string, string>> = {
  'maintainer script': '/var/lib/dpkg/info/a.postinst',
  'maintainer helper': '/usr/share/debconf/frontend',
  'initramfs-tools': '/usr/share/initramfs-tools/hooks/udev',
  dracut: '/usr/lib/dracut/modules.d/00bash/module-setup.sh',
  'cron script': '/etc/cron.daily/passwd',
  'dpkg-db-backup': '/usr/libexec/dpkg/dpkg-db-backup',
  'logs in memory': '/usr/lib/armbian/armbian-ramlog',
  'init script': '/etc/init.d/rc',
  ufw: '/usr/lib/ufw/ufw-init',
  'netfilter-persistent': '/usr/share/netfilter-persistent/plugins.d/15-ip4tables',
  rauc: '/usr/lib/rauc/hook.sh',
  swupdate: '/usr/lib/swupdate/post.sh',
  'Mender update': '/usr/share/mender/modules/v3/rootfs-image',
};

type Chain = readonly ProcessThen[];

const program = (executable: string, pid: number, argv?: readonly string[]): ProcessThen => ({
  pid,
  parentPid: pid - 1,
  executable,
  argv: argv ?? [executable, '--option'],
  userId: 0,
});
const script = (path: string, pid: number): ProcessThen =>
  program('/usr/bin/dash', pid, ['/bin/sh', '-e', path, 'configure']);

const DPKG = program('/usr/bin/dpkg', 20);
const INIT = program('/usr/lib/systemd/systemd', 1, ['/sbin/init']);

/** What the actor needs above it. */
function above({ under }: TrustedActor): Chain {
  if (under?.includes('packages') === true) return [DPKG];
  return under?.includes('init') === true ? [INIT] : [];
}

/** An actor at work: each of its forms, with the processes above it. */
function chainsOf(actor: TrustedActor): { form: string; chain: Chain }[] {
  if (actor.isFirstProcess === true) return [{ form: 'first process', chain: [INIT] }];
  const [name] = actor.programs ?? [];
  const path = SCRIPTS[actor.name];
  return [
    ...(name === undefined
      ? []
      : [
          { form: 'binary', chain: [program(`/usr/bin/${name}`, 30), ...above(actor)] },
          { form: 'script in the path', chain: [script(`/usr/sbin/${name}`, 30), ...above(actor)] },
        ]),
    ...(actor.paths === undefined || path === undefined
      ? []
      : [{ form: 'script', chain: [script(path, 30), ...above(actor)] }]),
  ];
}

interface Scene {
  readonly chain: Chain;
  readonly payload?: { readonly UserId: string; readonly ExtraDetails?: Readonly<Record<string, string>> };
  readonly files?: Partial<FileFacts>;
}
const RIGHT: FileFacts = { isRootOwned: () => true, runsHostFile: () => true };
const causeOf = ({ chain, payload = { UserId: '0' }, files = {} }: Scene) =>
  new ActorRecognition({ ...RIGHT, ...files }).causeOf(payload, chain, ACTOR_KINDS);

const changed = ([first, ...others]: Chain, change: Partial<ProcessThen>): Chain =>
  first === undefined ? [] : [{ ...first, ...change }, ...others];
const fileOf = ([first]: Chain): string =>
  (first?.executable === '/usr/bin/dash' ? first.argv?.[2] : first?.executable) ?? '';

/** What a process can make look like an actor. */
const FORGERIES: Readonly<Record<string, (chain: Chain) => Scene>> = {
  'arguments joined in argv[0], by a shell that runs something else': (chain) => ({
    chain: changed(chain, {
      executable: '/usr/bin/bash',
      argv: [`/bin/sh ${fileOf(chain)} configure`, '/home/mallory/attack.sh'],
    }),
  }),
  'the path as argv[0]': (chain) => ({
    chain: changed(chain, { executable: '/usr/bin/bash', argv: [fileOf(chain), '/home/mallory/attack.sh'] }),
  }),
  'the path behind -c': (chain) => ({
    chain: changed(chain, { executable: '/usr/bin/bash', argv: ['bash', '-c', 'attack', fileOf(chain)] }),
  }),
  'the path as an argument of another script': (chain) => ({
    chain: changed(chain, { executable: '/usr/bin/bash', argv: ['bash', '/home/mallory/attack.sh', fileOf(chain)] }),
  }),
  'arguments without bounds': (chain) => ({
    chain: changed(chain, { executable: '/usr/bin/dash', argv: undefined, commandLine: `/bin/sh ${fileOf(chain)}` }),
  }),
  'a copy under another path': (chain) => ({
    chain: changed(chain, { executable: `/tmp${fileOf(chain)}`, argv: [fileOf(chain)] }),
  }),
  'a path through another folder': (chain) => ({
    chain: changed(chain, {
      executable: '/usr/bin/dash',
      argv: ['/bin/sh', `/tmp/../..${fileOf(chain)}/../../x`],
    }),
  }),
  'a copied interpreter': (chain) => ({
    chain: changed(chain, { executable: '/tmp/dash', argv: ['/bin/sh', fileOf(chain)] }),
  }),
  'a name by prctl, which no fact contains': (chain) => ({
    chain: changed(chain, { executable: '/home/mallory/x', argv: [fileOf(chain).split('/').at(-1) ?? ''] }),
  }),
  'another file at the same path, in a mount or user namespace': (chain) => ({
    chain,
    files: { runsHostFile: (pid) => pid !== chain[0]?.pid },
  }),
  'a process that ended before it was examined': (chain) => ({ chain, files: { runsHostFile: () => undefined } }),
  'a file of another user, or in a folder of others': (chain) => ({
    chain,
    files: { isRootOwned: (path) => path !== fileOf(chain) && path !== fileOf(chain).replace(/^\/usr/, '') },
  }),
  'the actor run by an ordinary user': (chain) => ({ chain: changed(chain, { userId: 1000 }) }),
  'the actor run with two user ids': (chain) => ({ chain: changed(chain, { userId: undefined }) }),
  'a start by an ordinary user': (chain) => ({ chain, payload: { UserId: '1000' } }),
  'a start in a container': (chain) => ({
    chain,
    payload: { UserId: '0', ExtraDetails: { ContainerId: 'a'.repeat(64) } },
  }),
  'a process between the actor and the start': (chain) => ({ chain: [program('/usr/bin/env', 40), ...chain] }),
};

describe('ActorRecognition', () => {
  for (const actor of TRUSTED_ACTORS) {
    for (const { form, chain } of chainsOf(actor)) {
      it(`recognises ${actor.name} (${actor.kind}) as a ${form}`, () => {
        assert.notEqual(causeOf({ chain }), undefined);
      });
      it(`rejects every forgery of ${actor.name} as a ${form}`, () => {
        const accepted = Object.entries(FORGERIES).filter(([, forge]) => causeOf(forge(chain)) !== undefined);
        assert.deepEqual(accepted, []);
      });
      if (actor.under !== undefined)
        it(`rejects ${actor.name} as a ${form} with another parent`, () => {
          assert.equal(causeOf({ chain: chain.slice(0, 1) }), undefined);
          assert.equal(causeOf({ chain: [...chain.slice(0, 1), program('/usr/bin/bash', 20)] }), undefined);
          const forged = { ...program('/usr/bin/bash', 20), argv: ['/usr/bin/dpkg', '--configure'] };
          assert.equal(causeOf({ chain: [...chain.slice(0, 1), forged] }), undefined);
        });
    }
  }

  it('has an example for each row with paths', () => {
    const lacking = TRUSTED_ACTORS.filter(
      ({ name, paths, isFirstProcess }) =>
        paths !== undefined && isFirstProcess !== true && !paths.test(SCRIPTS[name] ?? ''),
    );
    assert.deepEqual(lacking, []);
  });

  it('finds the package manager for a helper in a subshell of a package script', () => {
    const postinst = script('/var/lib/dpkg/info/a.postinst', 31);
    const helper = program('/usr/bin/perl', 33, ['/usr/bin/perl', '/usr/bin/deb-systemd-invoke', 'stop', 'auditd']);
    assert.equal(causeOf({ chain: [helper, { ...postinst, pid: 32 }, postinst, DPKG] }), 'dpkg');
  });

  it('rejects a kind that the rule does not list', () => {
    const actors = new ActorRecognition(RIGHT);
    assert.equal(actors.causeOf({ UserId: '0' }, [DPKG], ['init']), undefined);
    assert.equal(actors.causeOf({ UserId: '0' }, [DPKG], []), undefined);
    assert.equal(actors.causeOf({ UserId: '0' }, [DPKG], ['init', 'packages']), 'dpkg');
  });

  it('recognises init only as the first process', () => {
    assert.equal(causeOf({ chain: [{ ...INIT, pid: 77 }] }), undefined);
    const user = program('/bin/busybox', 77, ['init']);
    assert.equal(causeOf({ chain: [user] }), undefined);
    assert.equal(causeOf({ chain: [{ ...user, pid: 1 }] }), 'init');
  });

  it("does not treat the first process as the starter of a login's orphan", () => {
    for (const ExtraDetails of [{ LoginUserId: '1000' }, { Terminal: 'pts0' }])
      assert.equal(causeOf({ chain: [INIT], payload: { UserId: '0', ExtraDetails } }), undefined);
  });

  it('rejects set-user-id programs', () => {
    for (const chain of [[INIT], [DPKG]])
      assert.equal(causeOf({ chain, payload: { UserId: '0', ExtraDetails: { RealUserId: '2001' } } }), undefined);
  });

  it('reads the script of BusyBox only if its applet is a shell', () => {
    const postinst = '/var/lib/dpkg/info/a.postinst';
    const of = (argv: readonly string[]) => causeOf({ chain: [program('/bin/busybox', 30, argv), DPKG] });
    assert.equal(of(['/bin/sh', postinst, 'configure']), 'dpkg');
    assert.equal(of(['find', postinst, '-exec', 'attack']), undefined);
    assert.equal(of(['busybox', postinst]), undefined);
  });

  it('keeps an actor that was examined at its start, until its pid starts another program', () => {
    let isAlive = true;
    const actors = new ActorRecognition({ ...RIGHT, runsHostFile: () => (isAlive ? true : undefined) });
    const dpkg = { ...DPKG, since: { time: 1_000, serial: 7 } };
    actors.started(dpkg);
    isAlive = false;
    const cause = (process: ProcessThen) => actors.causeOf({ UserId: '0' }, [process], ['packages']);
    assert.equal(cause(dpkg), 'dpkg');
    assert.equal(cause({ ...dpkg, since: { time: 1_000, serial: 8 } }), undefined);
    for (let pid = 1_000; pid < 1_300; pid += 1) actors.started({ ...dpkg, pid });
    assert.equal(cause(dpkg), undefined);
  });

  it('accepts a script with a path below /bin if that is a link to /usr/bin', () => {
    const isRootOwned = (path: string) => path.startsWith('/usr/') || path.startsWith('/var/');
    const chain = [program('/usr/bin/dash', 30, ['/bin/sh', '/sbin/update-initramfs', '-u'])];
    assert.equal(causeOf({ chain, files: { isRootOwned } }), 'initramfs-tools');
    assert.equal(causeOf({ chain, files: { isRootOwned: () => false } }), undefined);
  });
});
