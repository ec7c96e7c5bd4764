import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, rmSync, symlinkSync, truncateSync, utimesSync } from 'node:fs';
import { selfSigned } from '../../../../src/emulator/certificates.ts';
import { skip } from '../../../harness/require.ts';
import { assertFinding, CheckBench } from './bench.ts';

const OTHER_USER = 65_534;
const isRoot = process.getuid?.() === 0;

describe('vakt check: files', () => {
  let bench: CheckBench;
  beforeEach(() => {
    bench = new CheckBench();
    bench.configure();
  });
  afterEach(() => bench.close());

  describe('the configuration', () => {
    it('check accepts a valid configuration', async () =>
      assertFinding(await bench.lookAt('configuration'), 'ok', /agent\.json is valid$/));

    for (const mode of [0o660, 0o606]) {
      it(`check reports a configuration that other users can write to with mode ${mode.toString(8)}`, async () => {
        bench.configure({}, mode);
        assertFinding(
          await bench.lookAt('configuration'),
          'wrong',
          /other users can write to .* disable the agent/,
          /chmod go-w .*agent/,
        );
      });
    }

    it('check reports a configuration in a folder that other users can write to', async () => {
      chmodSync(bench.folder, 0o777);
      assertFinding(await bench.lookAt('configuration'), 'wrong', /other users can replace files in/, /chmod go-w/);
    });

    it('check reports an unchanged example configuration', async () => {
      bench.configure({ hub: { hostName: 'contoso.azure-devices.net' } });
      assertFinding(
        await bench.lookAt('configuration'),
        'wrong',
        /still the example's, contoso.* \(CONFIG_INCOMPLETE\)/,
        /^Set hub\.hostName in .*agent\.json to the name of your hub/,
      );
    });

    it('check shows the limits for the module twin, and reports an unknown event in them', async () => {
      bench.configure({ limits: { alwaysOn: 'Login', messageUnitsPerDay: 7, largestCacheInBytes: 8192 } });
      assertFinding(
        await bench.lookAt('limits'),
        'ok',
        /every PT10S or more; snapshots every PT5M or more; cache up to 8192 bytes; 7 message units a day; always on: Login$/,
      );
      bench.configure({ limits: { mayBeOff: 'Logins' } });
      assertFinding(await bench.lookAt('limits'), 'wrong', /did you mean "Login"\?/, /vakt events/);
    });

    it('check notes a configuration that belongs to another user', async function () {
      if (!isRoot) skip(this, 'giving files away takes root');
      chownSync(bench.path('agent.json'), OTHER_USER, OTHER_USER);
      assertFinding(await bench.lookAt('configuration'), 'note', /belongs to user 65534/, /chown root/);
    });
  });

  describe('the copies that a service uses', () => {
    const run = (copies: Readonly<Record<string, string>>, more: object = {}) =>
      bench.run({ state: 'running', hub: { state: 'connected', copies }, collectors: {}, ...more });
    /** Copies the key as systemd does, at the start of the service. */
    const copied = () => {
      const copy = bench.write('credentials/module.key', bench.key);
      utimesSync(copy, new Date(), new Date(Date.now() - 1_000));
      return copy;
    };

    it('check accepts copies of secrets that match their files', async () => {
      await run({ [bench.path('module.key')]: copied() });
      assert.deepEqual(await bench.look('copies of secrets'), []);
    });

    it('check reports a copy that is older than the corrected key', async () => {
      await run({ [bench.path('module.key')]: copied() });
      bench.write('module.key', randomBytes(32).toString('base64'));
      assertFinding(
        await bench.lookAt('copies of secrets'),
        'wrong',
        /^the service uses an older copy of \/.*module\.key$/,
        /^Run: systemctl restart vakt$/,
      );
    });

    it('check ignores the copies of an agent that was started by another configuration', async () => {
      await run({ [bench.path('module.key')]: copied() }, { localFileHash: 'of another file' });
      bench.write('module.key', randomBytes(32).toString('base64'));
      assert.deepEqual(await bench.look('copies of secrets'), []);
    });

    it('check accepts a copy that differs from an encrypted file', async () => {
      const copy = copied();
      bench.write('module.key', 'DHzAexF2RZGcSwvqCLwg/iAAAAABAAAADAAAABAAAAC');
      utimesSync(copy, new Date(), new Date(Date.now() + 60_000));
      await run({ [bench.path('module.key')]: copy });
      assert.deepEqual(await bench.look('copies of secrets'), []);
    });

    it('check ignores copies that are symbolic links or copies of files outside the configuration', async () => {
      bench.write('other.key', 'changed');
      symlinkSync(copied(), bench.path('credentials/link'));
      await run({
        [bench.path('module.key')]: bench.path('credentials/link'),
        [bench.path('other.key')]: bench.path('credentials/module.key'),
      });
      bench.write('module.key', randomBytes(32).toString('base64'));
      assert.deepEqual(await bench.look('copies of secrets'), []);
    });

    for (const elsewhere of ['other.key', 'credentials/../other.key']) {
      it(`check does not open a copy where systemd creates no copies, such as ${elsewhere}`, async () => {
        utimesSync(bench.write('other.key', 'another key'), new Date(0), new Date(0));
        await run({ [bench.path('module.key')]: `${bench.folder}/${elsewhere}` });
        assert.deepEqual(await bench.look('copies of secrets'), []);
      });
    }

    it('check adds a restart to the remedies of other checks if the service uses copies', async () => {
      const { certificatePem, keyPem } = await selfSigned({
        commonName: 'device1',
        notBefore: new Date('2020-01-01'),
        notAfter: new Date('2021-01-01'),
      });
      const [certificateFile, keyFile] = [bench.write('c.pem', certificatePem), bench.write('k.pem', keyPem)];
      const identity = { kind: 'moduleCertificate', deviceId: 'device1', moduleId: 'm', certificateFile, keyFile };
      bench.configure({ identity });
      await run({ [certificateFile]: '/run/c.pem' });
      assertFinding(await bench.lookAt('identity'), 'wrong', /expired at 20/, /; then run: systemctl restart vakt\.$/);
    });
  });

  describe('secrets', () => {
    it('check accepts private secrets', async () => {
      assertFinding(await bench.lookAt('secrets'), 'ok', /no other user can read or replace .*module\.key/);
      assertFinding(await bench.lookAt('identity'), 'ok', /^device1\/azureiotsecurity at localhost, by moduleKey$/);
    });

    it('check reports a secret that other users can read', async () => {
      chmodSync(bench.path('module.key'), 0o644);
      assertFinding(await bench.lookAt('identity'), 'wrong', /open to every user .*EXPOSED/, /chmod 600/);
    });

    it('check reports a missing secret', async () => {
      rmSync(bench.path('module.key'));
      assertFinding(await bench.lookAt('identity'), 'wrong', /does not exist .*SECRET_FILE_MISSING/, /Create .* 0600/);
    });

    it('check reports a damaged secret without showing it', async () => {
      bench.write('module.key', `${bench.key}?`);
      assertFinding(await bench.lookAt('identity'), 'wrong', /is not base64 .*SECRET_FILE_MALFORMED/, /Copy/);
    });

    it('check reports secrets in a folder that other users can write to', async () => {
      chmodSync(bench.folder, 0o777);
      assertFinding(await bench.lookAt('secrets'), 'wrong', /other users can replace files in/, /chmod go-w/);
    });

    it('check reports secrets and a configuration in a folder of another user', async function () {
      if (!isRoot) skip(this, 'giving folders away takes root');
      chownSync(bench.folder, OTHER_USER, OTHER_USER);
      for (const check of ['secrets', 'configuration'])
        assertFinding(await bench.lookAt(check), 'wrong', /belongs to user 65534, who can replace files/, /chown root/);
    });

    it('check accepts secrets in a folder with the sticky bit, such as /tmp', async () => {
      chmodSync(bench.folder, 0o1777);
      assertFinding(await bench.lookAt('secrets'), 'ok', /no other user/);
    });
  });

  describe("the proxy's password", () => {
    const hub = { hostName: 'localhost', proxy: 'http://user@localhost:1', proxyPasswordFile: 'proxy.password' };

    it('check treats the password of the proxy as a secret', async () => {
      bench.configure({ hub });
      assertFinding(
        await bench.lookAt('secrets'),
        'wrong',
        /proxy\.password does not exist .*SECRET_FILE_MISSING/,
        /./,
      );
      bench.write('proxy.password', 'S3cret!', 0o640);
      assertFinding(
        await bench.lookAt('secrets'),
        'wrong',
        /proxy\.password is open to its group .*EXPOSED/,
        /chmod 600/,
      );
      bench.write('proxy.password', 'S3cret!', 0o600);
      assertFinding(await bench.lookAt('secrets'), 'ok', /replace .*proxy\.password, .*module\.key/);
    });
  });

  describe('the trusted authority', () => {
    const hub = { hostName: 'localhost', trustedCaFile: 'ca.pem' };

    it('check reports a missing file of the trusted authority', async () => {
      bench.configure({ hub });
      assertFinding(await bench.lookAt('secrets'), 'wrong', /ca\.pem can't be used.*CA_FILE_UNUSABLE/, /PEM form/);
    });

    it('check reports a file of the trusted authority that contains no certificate', async () => {
      bench.configure({ hub });
      bench.write('ca.pem', 'nothing of the kind');
      assertFinding(await bench.lookAt('secrets'), 'wrong', /contains no PEM certificate/, /PEM form/);
    });
  });

  describe('the state directory', () => {
    it('check accepts a state directory that will be created', async () =>
      assertFinding(await bench.lookAt('state directory'), 'ok', /state will be created$/));

    it('check names the command that starts the agent as the owner of its state directory', async function () {
      if (process.getuid?.() !== 0) return skip(this, 'giving files away takes root');
      const file = bench.configure();
      assertFinding(
        await bench.lookAt('running agent'),
        'note',
        /^none/,
        new RegExp(`^Start it: vakt run --config '${file}'$`),
      );
      mkdirSync(bench.path('state'));
      chownSync(bench.path('state'), 65_534, 65_534);
      const found = await bench.lookAt('running agent');
      assertFinding(found, 'note', /^none/, /^Run the agent as the user nobody: setpriv .* vakt run --config /);
    });

    it('check reports state files that do not belong to the user of the running agent', async function () {
      if (!isRoot) skip(this, 'an agent of another user takes root');
      await bench.standIn('setpriv', `--reuid=${OTHER_USER}`, '--clear-groups');
      mkdirSync(bench.path('state'), { mode: 0o700 });
      chownSync(bench.path('state'), OTHER_USER, OTHER_USER);
      bench.write('state/agent-id', 'of root');
      assertFinding(
        await bench.lookAt('state directory'),
        'wrong',
        /1 file in .* does not belong to user 65534, for example .*agent-id \(user 0\)/,
        /chown -R 65534 /,
      );
    });

    it('check reports state files of another owner than the state directory when no agent runs', async function () {
      if (!isRoot) skip(this, 'giving files away takes root');
      mkdirSync(bench.path('state'), { mode: 0o700 });
      bench.write('state/agent-id', 'of root');
      chownSync(bench.path('state'), OTHER_USER, OTHER_USER);
      assertFinding(await bench.lookAt('state directory'), 'wrong', /does not belong to user 65534/, /chown -R 65534 /);
    });

    it('check notes state files that other users can read', async () => {
      mkdirSync(bench.path('state'), { mode: 0o700 });
      bench.write('state/queue', 'events', 0o644);
      assertFinding(await bench.lookAt('state directory'), 'note', /other users can access 1 file /, /chmod -R go-rwx/);
    });

    for (const [what, target, link] of [
      ['the state directory', 'state', 'state'],
      ['the parent of the state directory', 'disk/state', 'disk'],
    ] as const) {
      it(`check reports that ${what} is a symbolic link to a missing path`, async () => {
        symlinkSync(bench.path('not-mounted'), bench.path(link));
        bench.configure({ stateDirectory: target });
        assertFinding(
          await bench.lookAt('state directory'),
          'wrong',
          new RegExp(`/${link} is a symbolic link to a path that does not exist$`),
          /^Mount the file system it points to, or set stateDirectory/,
        );
      });
    }

    it('check reports a state directory on a read-only disk', async function () {
      if (!isRoot) skip(this, 'mounting takes root');
      mount('ro');
      assertFinding(await bench.lookAt('state directory'), 'wrong', /is not writable: EROFS/, /Mount .* read-write/);
    });
  });

  describe('the disk', () => {
    const promise = (bytes: number) => {
      mkdirSync(bench.path('state'), { mode: 0o700, recursive: true });
      const configuration = { maxLocalCacheSizeInBytes: { value: bytes } };
      bench.write('state/last-good-configuration.json', JSON.stringify({ configuration }));
    };

    it('check reports too little disk space for the cache size in the module twin, up to the local limit', async () => {
      promise(1e15);
      bench.configure({ limits: { largestCacheInBytes: 1e15 } });
      const [, found] = await bench.look('state directory', 'disk');
      assertFinding(
        found,
        'wrong',
        /MB are free at .*state, but the queues .* by 1000000\d{3} MB/,
        /maxLocalCacheSize/,
      );
      bench.configure({ limits: { largestCacheInBytes: 1_000_000 } });
      assertFinding(await bench.lookAt('disk'), 'ok', /MB free, up to 2\.6 MB needed/);
    });

    it('check subtracts the disk space that the queues already use', async () => {
      promise(1e15);
      bench.configure({ limits: { largestCacheInBytes: 1e15 } });
      const missing = async () => {
        const [, found] = await bench.look('state directory', 'disk');
        return Number(/ by (\d+) MB/.exec(found?.finding ?? '')?.[1]);
      };
      const before = await missing();
      bench.write('state/segment', '');
      truncateSync(bench.path('state/segment'), 500_000_000); // sparse
      assert.equal(before - (await missing()), 500);
    });

    it('check requires no more disk space than the default limit of the cache', async () => {
      promise(1e15);
      const found = await bench.lookAt('disk');
      assertFinding(found, 'ok', /MB free, up to 70 MB needed/);
    });

    it('check reports a small disk with less free space than the cache needs', async function () {
      if (!isRoot) skip(this, 'mounting takes root');
      mount('size=1m');
      assertFinding(
        await bench.lookAt('disk'),
        'wrong',
        /^1\.0 MB are free at .* may grow by 5\.8 MB$/,
        /^Free disk space/,
      );
    });

    it('check derives the required disk space from the cache size in the module twin', async () => {
      promise(1_000_000);
      assertFinding(await bench.lookAt('disk'), 'ok', /MB free, up to 2\.6 MB needed/);
    });

    it('check notes a state directory that is in memory', async function () {
      if (!isRoot) skip(this, 'mounting takes root');
      mount('size=64m');
      assertFinding(await bench.lookAt('disk'), 'note', /is in memory \(tmpfs\).*lost/, /stateDirectory/);
    });

    it('check reports a disk without free inodes', async function () {
      if (!isRoot) skip(this, 'mounting takes root');
      mount('size=64m,nr_inodes=2');
      bench.write('state/last', '');
      assertFinding(await bench.lookAt('disk'), 'wrong', /inodes are used up/, /Delete files/);
    });
  });

  function mount(options: string): void {
    mkdirSync(bench.path('state'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', `${options},mode=0700`, 'tmpfs', bench.path('state')]);
    bench.after(() => execFileSync('umount', ['--lazy', bench.path('state')]));
  }

  describe('the control socket', () => {
    it('check accepts a control socket that can be created', async () =>
      assertFinding(await bench.lookAt('control socket'), 'ok', /can be created at/));

    it('check notes a control socket that cannot be created', async function () {
      if (!isRoot) skip(this, 'mounting takes root');
      mount('ro');
      bench.configure({ controlSocket: 'state/control.sock' });
      assertFinding(await bench.lookAt('control socket'), 'note', /not writable \(EROFS\)/, /vakt status/);
    });
  });
});
