import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { Account, DROP_REASONS, droppedIn, sum } from '../../../src/core/base/counters.ts';

const NOTHING = { collected: 0, delivered: 0, aggregatedAway: 0, dropped: {} };

describe('Account', () => {
  it('an Account counts by event and in total', () => {
    const account = new Account();
    account.collect('ProcessCreate', 10);
    account.collect('Login', 1);
    account.deliver('ProcessCreate', 3);
    account.aggregateAway('ProcessCreate', 4);
    account.drop('ProcessCreate', 'cacheFull', 2);
    account.drop('ProcessCreate', 'cacheFull', 1);
    account.drop('Login', 'refused', 1);
    assert.deepEqual(account.byEvent(), {
      ProcessCreate: { collected: 10, delivered: 3, aggregatedAway: 4, dropped: { cacheFull: 3 } },
      Login: { collected: 1, delivered: 0, aggregatedAway: 0, dropped: { refused: 1 } },
    });
    assert.deepEqual(account.totals(), {
      collected: 11,
      delivered: 3,
      aggregatedAway: 4,
      dropped: { cacheFull: 3, refused: 1 },
    });
    assert.equal(droppedIn(account.totals()), 4);
  });

  it('an Account is empty at first', () => {
    assert.deepEqual(new Account().totals(), NOTHING);
    assert.deepEqual(new Account().byEvent(), {});
  });

  it('an Account returns copies, so that callers cannot change its counts', () => {
    const account = new Account();
    account.drop('Login', 'kernel', 1);
    const copy = account.byEvent();
    assert.ok(copy.Login);
    copy.Login.collected = 99;
    copy.Login.dropped.kernel = 99;
    assert.deepEqual(account.byEvent().Login, { ...NOTHING, dropped: { kernel: 1 } });
  });

  it('an Account restores any counts from its own JSON', () => {
    const entry = fc.tuple(
      fc.constantFrom('collect', 'deliver', 'aggregateAway', ...DROP_REASONS),
      fc.oneof(fc.constantFrom('Login', '__proto__', 'constructor', ''), fc.string()),
      fc.nat(1_000_000).map((n) => n + 1),
    );
    fc.assert(
      fc.property(fc.array(entry), (entries) => {
        const account = new Account();
        for (const [what, name, count] of entries) {
          if (what === 'collect' || what === 'deliver' || what === 'aggregateAway') account[what](name, count);
          else account.drop(name, what, count);
        }
        const again = Account.from(JSON.parse(JSON.stringify(account)));
        assert.deepEqual(Object.entries(again.byEvent()), Object.entries(account.byEvent()));
        assert.deepEqual(again.totals(), account.totals());
      }),
    );
  });

  it('Account.from accepts any JSON, and its counts are non-negative integers', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const { collected, delivered, aggregatedAway, dropped } = Account.from(value).totals();
        for (const count of [collected, delivered, aggregatedAway, ...Object.values(dropped)])
          assert.ok(Number.isSafeInteger(count) && count >= 0);
      }),
    );
  });

  for (const damaged of [-1, 0.5, Number.MAX_VALUE, '7', null, true, [7], { n: 7 }]) {
    it(`Account.from ignores the invalid count ${JSON.stringify(damaged)}`, () => {
      const row = {
        collected: damaged,
        delivered: 2,
        aggregatedAway: damaged,
        dropped: { kernel: damaged, refused: 3 },
      };
      const account = Account.from({ Login: row });
      assert.deepEqual(account.totals(), { collected: 0, delivered: 2, aggregatedAway: 0, dropped: { refused: 3 } });
    });
  }

  it('Account.from ignores unknown drop reasons', () => {
    const text = '{"Login": {"collected": 1, "dropped": {"__proto__": 5, "boredom": 6, "kernel": 7}}}';
    assert.deepEqual(Account.from(JSON.parse(text)).totals().dropped, { kernel: 7 });
  });
});

describe('sum', () => {
  it('sum adds rows and leaves them unchanged', () => {
    const row = { collected: 1, delivered: 2, aggregatedAway: 3, dropped: { kernel: 4 } };
    assert.deepEqual(sum([row, row, { ...NOTHING, dropped: { refused: 5 } }]), {
      collected: 2,
      delivered: 4,
      aggregatedAway: 6,
      dropped: { kernel: 8, refused: 5 },
    });
    assert.deepEqual(row.dropped, { kernel: 4 });
  });
});

describe('drop reasons', () => {
  it('TROUBLESHOOTING.md has exactly one row for each drop reason', () => {
    const [, section = ''] = readFileSync('TROUBLESHOOTING.md', 'utf8').split('### What happened to an event?');
    const [table = ''] = section.split('\n### ');
    const rows = [...table.matchAll(/^\| `(\w+)`/gm)].map(([, reason]) => reason);
    assert.deepEqual(rows.sort(), [...DROP_REASONS].sort());
  });
});
