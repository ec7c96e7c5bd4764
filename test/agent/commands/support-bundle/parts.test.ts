import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LARGEST_ITEM, outcomeOf } from '../../../../src/agent/commands/support-bundle/item.ts';
import { kernelFacts, shownParameters } from '../../../../src/agent/commands/support-bundle/kernel.ts';
import { stateLayout } from '../../../../src/agent/commands/support-bundle/state.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

const { signal } = new AbortController();
const read = (item: () => unknown) => outcomeOf({ name: 'a', about: 'b', read: item }, { secrets: [], signal });

describe('The parts of a support bundle', () => {
  it('outcomeOf keeps the end of a text that is too long, and reports how much is left out', async () => {
    const outcome = await read(() => `${'x'.repeat(LARGEST_ITEM)}end`);
    assert.ok('text' in outcome);
    assert.match(outcome.text, /^\[the first 3 bytes are left out\]\nx+end$/);
  });

  it('outcomeOf reports a read error in one printable line', async () => {
    const outcome = await read(() => {
      throw new Error(`no \u001b[2J${'x'.repeat(1_000)}`);
    });
    assert.ok('missing' in outcome);
    assert.match(outcome.missing, /^no ·\[2Jx+$/);
    assert.equal(outcome.missing.length, 300);
  });

  it('shownParameters shows only values of the kernel command line that are known to be harmless', () => {
    assert.equal(
      shownParameters('BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 ro quiet audit=0 installer.token=abc rd.luks.key=/k'),
      'BOOT_IMAGE=[left out] root=/dev/sda1 ro quiet audit=0 installer.token=[left out] rd.luks.key=[left out]',
    );
    for (const [given, shown] of [
      ['luks.pass="my secret phrase" ro', 'luks.pass=[left out] ro'],
      ['"luks.pass=my secret phrase" ro', 'luks.pass=[left out] ro'],
      ['dm-mod.create="lroot,,,rw, 0 4096 crypt aes babebabe 0 /dev/sda 0" rw', 'dm-mod.create=[left out] rw'],
      ['x="open to the end', 'x=[left out]'],
      ['quiet secret my"secret phrase"', 'quiet [left out] [left out]'],
    ] as const)
      assert.equal(shownParameters(given), shown);
  });

  it('kernelFacts contains the kernel data that this machine can read', () => {
    const text = kernelFacts('/proc/self');
    assert.match(text, /^== \/proc\/meminfo\nMemTotal: /m);
    assert.match(text, /^== \/proc\/self\/status\nName:/m);
  });

  it('stateLayout limits the number and the depth of the listed entries', () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'a/b/c/d/e/f'), { recursive: true });
    for (let i = 0; i < 2_100; i += 1) writeFileSync(join(folder, `a/${i}`), '');
    const lines = stateLayout(folder).split('\n');
    assert.ok(lines.length < 2_010, String(lines.length));
    assert.ok(lines.includes('[more than 2000 entries; the rest is left out]'));
    assert.ok(!lines.some((line) => line.endsWith('d/e')));
  });
});
