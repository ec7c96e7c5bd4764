import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { baselinePage } from '../../../../src/agent/commands/baseline/page.ts';
import type { Scanned } from '../../../../src/agent/commands/baseline/scanned.ts';
import type { CheckOutcome } from '../../../../src/core/contract/baseline.ts';
import { fuzzRuns } from '../../../fuzz.ts';

const outcome = (change: Partial<CheckOutcome> = {}): CheckOutcome => ({
  rule: 'ssh.a',
  category: 'ssh',
  severity: 'Critical',
  title: 'A holds',
  result: 'fail',
  actual: 'yes',
  expected: 'no',
  where: '/etc/a:7',
  remediation: 'Set a to no.',
  ...change,
});

const scanned = (outcomes: readonly CheckOutcome[], change: Partial<Scanned['report']> = {}): Scanned => ({
  subject: '/srv/image',
  options: { level: 2, walk: true, groupsDisabled: ['cron'], checksDisabled: ['ssh.b'], roles: ['router'] },
  report: {
    ruleSet: { version: '1.0.0', sha256: 'ab'.repeat(32) },
    scannedAt: new Date('2026-05-01T12:34:56.000Z'),
    durationMs: 78,
    outcomes,
    unknown: [],
    limits: [],
    ...change,
  },
});
const page = (...outcomes: CheckOutcome[]) => baselinePage(scanned(outcomes), { cron: 'Jobs', ssh: 'The SSH server' });

const withoutTags = (html: string) => html.replace(/<style>.*?<\/style>|<script>.*?<\/script>|<[^>]*>/gs, ' ');

describe('The page of a scan', () => {
  it('the page shows all details of a rule under its category', () => {
    const html = page(outcome({ cce: 'CCE-1', source: 'CIS 1' }));
    for (const text of [
      'A holds',
      'yes',
      'no',
      '/etc/a:7',
      'Set a to no.',
      'ssh.a',
      'CCE-1',
      'CIS 1',
      'The SSH server',
    ]) {
      assert.ok(withoutTags(html).includes(text), text);
    }
    assert.ok(!html.includes('data-category="cron"')); // No rule of the category was evaluated.
  });

  it('the page shows invisible and bidirectional characters as code points', () => {
    const html = page(outcome({ where: '/etc/\u202efdp.exe\u200b' }));
    assert.ok(withoutTags(html).includes('/etc/&lt;U+202E&gt;fdp.exe&lt;U+200B&gt;'));
  });

  it('the page names the subject, the time, the options and the rule set of the scan', () => {
    const text = withoutTags(page(outcome()));
    for (const said of [
      'Hardening of /srv/image',
      '2026-05-01 12:34 UTC',
      'rules of level 2, with those that walk the file systems, for the roles router, without the categories cron, without the rules ssh.b',
      'ab'.repeat(32),
    ]) {
      assert.ok(text.includes(said), said);
    }
  });

  it('the page counts rules by result, and failures by severity', () => {
    const html = page(
      outcome(),
      outcome({ severity: 'Warning' }),
      outcome({ result: 'err', reason: 'EACCES' }),
      outcome({ result: 'pass' }),
      outcome({ result: 'pass' }),
      outcome({ result: 'pass' }),
      outcome({ result: 'skip', reason: 'no sshd' }),
    );
    assert.match(html, /<b>2<\/b> failed<small>1 Critical, 1 Warning<\/small>/);
    assert.match(html, /<b>1<\/b> could not be evaluated/);
    assert.match(html, /<b>3<\/b> passed/);
    assert.match(html, /<b>1<\/b> skipped/);
    const widths = [...html.matchAll(/<rect class="\w+" x="([\d.]+)" width="([\d.]+)"/g)].map(([, x, w]) => [
      Number(x),
      Number(w),
    ]);
    assert.deepEqual(widths, [
      [0, 50],
      [50, 16.667],
      [66.667, 33.333],
    ]);
  });

  it('the page shows a remediation only for rules that failed or could not be evaluated', () => {
    for (const result of ['pass', 'skip'] as const) assert.ok(!page(outcome({ result })).includes('Set a to no.'));
    for (const result of ['fail', 'err'] as const) assert.ok(page(outcome({ result })).includes('Set a to no.'));
  });

  it('the page shows the limits of the scan and why the custom rules were rejected', () => {
    const html = baselinePage(
      scanned([], { limits: ['In a <container>.'], customChecksRefused: '/x: not root’s' }),
      {},
    );
    assert.ok(html.includes('In a &lt;container&gt;.'));
    assert.ok(html.includes('The custom rules were not evaluated: /x: not root’s'));
  });

  it('the policy of the page allows only its own style and script, and the page loads no other file', () => {
    const html = page(outcome());
    const policy = /Content-Security-Policy" content="([^"]*)"/.exec(html)?.[1] ?? '';
    assert.match(policy, /^default-src 'none';/);
    for (const [tag, directive] of [
      ['style', 'style-src'],
      ['script', 'script-src'],
    ] as const) {
      const own = [...html.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, 'gs'))];
      assert.equal(own.length, 1);
      const digest = createHash('sha256')
        .update(own[0]?.[1] ?? '')
        .digest('base64');
      assert.ok(policy.includes(`${directive} 'sha256-${digest}'`), directive);
    }
    assert.doesNotMatch(html, /https?:|\burl\(|@import|<link|<img|<iframe|\bsrc=|\bhref=|\bstyle=|\bon\w+=/);
  });

  it('the page escapes every value, including hostile HTML', () => {
    const hostile = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.constantFrom(
        '</style><script>x()</script>',
        '"><img src=x onerror=x()>',
        "' onclick='x()",
        '<!--',
        '&lt;',
        ']]>',
      ),
    );
    const skeleton = (html: string) => html.replace(/>[^<]*</g, '><').replace(/data-category="[^"]*"/g, '');
    const plain = skeleton(page(outcome({ cce: 'x', source: 'x', reason: 'x' })).replaceAll(/<rect[^>]*>/g, ''));
    fc.assert(
      fc.property(fc.array(hostile, { minLength: 9, maxLength: 9 }), (texts) => {
        const [
          title = '',
          actual = '',
          expected = '',
          where = '',
          remediation = '',
          rule = '',
          reason = '',
          cce = '',
          source = '',
        ] = texts;
        const html = page(outcome({ title, actual, expected, where, remediation, rule, reason, cce, source }));
        assert.equal(skeleton(html.replaceAll(/<rect[^>]*>/g, '')), plain);
      }),
      { numRuns: fuzzRuns(3_000) },
    );
    const subject = baselinePage({ ...scanned([]), subject: '</title><script>x()</script>' }, {});
    assert.ok(!subject.includes('<script>x()'));
    assert.ok(!page(outcome({ category: '"><script>x()</script>' })).includes('<script>x()'));
  });
});
