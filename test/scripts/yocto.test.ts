import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundle, TOP } from '../../scripts/bundle.ts';
import { debianPackage } from '../../scripts/debian.ts';
import { tarball } from '../../scripts/tarball.ts';
import { suiteFolder } from '../harness/folders.ts';

/** The lines that a recipe may have: BitBake User Manual, "Syntax and Operators". */
const SYNTAX = {
  comment: /^#/,
  assignment: /^([A-Z_]+)((?::[A-Z${}]+)?(?:\[[a-z0-9]+\])?) (?:=|\+=) "([^"]*)"$/,
  flag: /^(do_[a-z]+)\[([a-z]+)\] = "([^"]*)"$/,
  inherit: /^inherit ([a-z ]+)$/,
} as const;

/** Folders of meta/conf/bitbake.conf of OpenEmbedded-Core; systemd's from meta/classes-recipe/systemd.bbclass. */
const FOLDERS = {
  prefix: '/usr',
  bindir: '/usr/bin',
  sysconfdir: '/etc',
  systemd_system_unitdir: '/usr/lib/systemd/system',
} as const;
const VARIABLES = [...Object.keys(FOLDERS), 'PN', 'PV', 'S', 'D'];

/** Files that a package has by default, as far as it matters here: FILES:${PN} of bitbake.conf. */
const FILES: readonly string[] = [FOLDERS.bindir, FOLDERS.sysconfdir];

const page = readFileSync('packaging/yocto.md', 'utf8');
const [, indented = ''] = /^ {3}```\n([\s\S]*?)^ {3}```$/m.exec(page) ?? [];
const recipe = indented.replace(/^ {3}/gm, '');
const [, installs = ''] = /^do_install\(\) \{\n([\s\S]*?)^\}$/m.exec(recipe) ?? [];
const statements = recipe
  .replace(/^do_install\(\) \{\n[\s\S]*?^\}$/m, '')
  .split('\n')
  .filter((line) => line !== '');
const values = new Map(
  statements.flatMap((line) => {
    const [, name = '', qualifier = '', value = ''] = SYNTAX.assignment.exec(line) ?? [];
    return name === '' ? [] : [[`${name}${qualifier}`, value] as const];
  }),
);
/** Files of the only package. */
const ofPackage = (name: string) => values.get(`${name}:\${PN}`) ?? '';
const expanded = (text: string) =>
  Object.entries(FOLDERS).reduce((all, [name, folder]) => all.replaceAll(`\${${name}}`, folder), text);

describe('the Yocto recipe of packaging/yocto.md', function () {
  this.timeout(180_000);
  const folder = suiteFolder();
  const source = join(folder, 'source');
  const image = join(folder, 'image');
  let packaged: readonly string[] = [];

  before(async () => {
    const program = join(folder, 'bundle');
    const packages = await bundle(program);
    const contents = {
      program,
      packages,
      architecture: 'amd64',
      seconds: 1_700_000_000,
      cache: join(TOP, 'build/koffi'),
    } as const;
    packaged = debianPackage(contents).files.map(({ path }) => path);
    const archive = tarball(contents);
    writeFileSync(join(folder, archive.name), archive.contents);
    mkdirSync(source);
    mkdirSync(image);
    execFileSync('tar', ['-C', source, '-xzf', join(folder, archive.name)]);
  });

  it('has lines that BitBake understands, and no variable that it does not have', () => {
    assert.ok(statements.length > 15);
    const wrong = statements.filter((line) => !Object.values(SYNTAX).some((form) => form.test(line)));
    assert.deepEqual(wrong, []);
    const used = [...recipe.matchAll(/\$\{(\w+)\}/g)].map(([, name = '']) => name);
    assert.deepEqual(
      used.filter((name) => !VARIABLES.includes(name)),
      [],
    );
  });

  it("names the licence's checksum", () => {
    const md5 = createHash('md5').update(readFileSync('LICENSE')).digest('hex');
    assert.ok(values.get('LIC_FILES_CHKSUM')?.includes(`file://LICENSE;md5=${md5}`));
  });

  it('names the licences of all packages in the bundle', () => {
    const licences = readFileSync(join(folder, 'bundle/LICENSES.txt'), 'utf8');
    const packageLicences = [...licences.matchAll(/^(?:@[\w-]+\/)?[\w.-]+ \d+\.\d[\w.-]*, ([\w.-]+)/gm)].map(
      ([, name = '']) => name,
    );
    assert.ok(packageLicences.length > 30);
    assert.deepEqual(values.get('LICENSE')?.split(' & ').sort(), [...new Set(packageLicences)].sort());
  });

  it('unpacks into the folder that BitBake expects, so that it need not name one', () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    assert.deepEqual(readdirSync(source), [`vakt-${version}`]); // ${BP}
    assert.match(values.get('SRC_URI') ?? '', /^https:\/\/.*\/vakt-\$\{PV\}-linux-arm64\.tar\.gz$/);
  });

  describe('installed', () => {
    let paths: readonly string[] = [];

    before(() => {
      const [unpacked = ''] = readdirSync(source);
      const environment = { PATH: process.env.PATH, D: image, S: join(source, unpacked), ...FOLDERS };
      const { status, stderr } = spawnSync('sh', ['-euc', installs], { env: environment, encoding: 'utf8' });
      assert.equal(status, 0, stderr);
      const all = readdirSync(image, { recursive: true, encoding: 'utf8' });
      paths = all.filter((path) => !lstatSync(join(image, path)).isDirectory());
    });

    it('has the Debian package’s files except manual, completions and documentation', () => {
      const wanted = packaged.filter((path) => !path.startsWith('usr/share/'));
      assert.ok(wanted.length > 20);
      // The Debian package's script writes agent.json once; the recipe installs the example.
      assert.deepEqual([...paths].sort(), [...wanted, 'etc/vakt/agent.json', 'usr/bin/vakt'].sort());
    });

    it('is a program that can be started, and secrets that only root can see', () => {
      assert.equal(realpathSync(join(image, 'usr/bin/vakt')), realpathSync(join(image, 'usr/lib/vakt/main.js')));
      assert.equal(statSync(join(image, 'usr/lib/vakt/main.js')).mode & 0o777, 0o755);
      const modes = ['etc/vakt', 'etc/vakt/secrets'].map((folder) => statSync(join(image, folder)).mode & 0o777);
      assert.deepEqual(modes, [0o711, 0o700]);
      const { status, stdout, stderr } = spawnSync(process.execPath, [join(image, 'usr/bin/vakt'), 'version'], {
        encoding: 'utf8',
      });
      assert.deepEqual([status, stderr], [0, '']);
      assert.match(stdout, /^vakt \d+\.\d+\.\d+\n$/);
    });

    it('is in the package to the last file', () => {
      const service = `${FOLDERS.systemd_system_unitdir}/${ofPackage('SYSTEMD_SERVICE')}`; // by systemd.bbclass
      const patterns = [...FILES, service, ...ofPackage('FILES').split(' ').map(expanded)];
      const left = paths.filter(
        (path) => !patterns.some((pattern) => `/${path}` === pattern || `/${path}`.startsWith(`${pattern}/`)),
      );
      assert.deepEqual(left, []);
      assert.ok(paths.includes(expanded(ofPackage('CONFFILES')).slice(1)));
    });
  });
});
