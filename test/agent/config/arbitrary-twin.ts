import { toJsonSchema } from '@valibot/to-json-schema';
import fc from 'fast-check';
import {
  DURATION,
  EXCEPTIONS,
  FLAG,
  type Kind,
  PATH,
  RATE,
  SHA256,
  SHA256_OR_NONE,
  TIME,
} from '../../../src/core/contract/setting-kinds.ts';
import type { SettingRow } from '../../../src/core/contract/settings.ts';

/* Desired configurations as they come, good and bad, for tests of what holds for all of them. */

type Document = Record<string, unknown>;

const SPANS = ['PT1S', 'PT60S', 'P1W', 'P1Y', 'PT1,5S', 'P0DT1H', 'PT007M', 'P12M5D', 'P365D', 'PT0.001H'];

const exceptions = fc.dictionary(
  fc.constantFrom('backup', 'ci-1', 'x_2'),
  fc.oneof(
    fc.record(
      {
        rule: fc.string({ maxLength: 64 }),
        field: fc.constant('Image'),
        endsWith: fc.string({ maxLength: 64 }).map((name) => `usr/bin/${name}`),
      },
      { noNullPrototype: true },
    ),
    fc.constant({
      rule: 'IoT_PortForwarding',
      field: 'RemoteAddress',
      cidr: '2001:db8::/32',
      until: '2027-01-01T00:00:00Z',
    }),
    fc.constant({ rule: 'r', field: 'User', equals: 'backup', comment: 'é' }),
  ),
  { noNullPrototype: true },
);

const DIGESTS = ['ab'.repeat(32), 'AB'.repeat(32), '0'.repeat(64)];

/** Good values of a kind. Kinds that are missing here have choices or bounds. */
const OF_KIND = new Map<Kind<unknown>['schema'], fc.Arbitrary<unknown>>([
  [DURATION.schema, fc.constantFrom(...SPANS)],
  [FLAG.schema, fc.boolean()],
  [PATH.schema, fc.constantFrom('/etc/vakt/checks.json', '/', '/a/..b/c', '//dev/zero')],
  [RATE.schema, fc.constantFrom('', '100/PT5M', '1/PT1S', '1000000/P1D')],
  [TIME.schema, fc.constantFrom('', '2026-12-24T08:00:00Z', '2026-12-24t08:00:00.5+01:00')],
  [SHA256.schema, fc.constantFrom(...DIGESTS)],
  [SHA256_OR_NONE.schema, fc.constantFrom('', ...DIGESTS)],
  [EXCEPTIONS.schema, exceptions],
]);

function goodValue({ schema, choices }: Kind<unknown>): fc.Arbitrary<unknown> {
  if (choices !== undefined) {
    return fc.constantFrom(...choices.flatMap((choice) => [choice, choice.toLowerCase(), choice.toUpperCase()]));
  }
  const known = OF_KIND.get(schema);
  if (known !== undefined) return known;
  const { type, minimum, maximum } = toJsonSchema(schema, { errorMode: 'ignore', typeMode: 'input' });
  if (type === 'integer') return fc.integer({ min: minimum ?? 0, max: maximum ?? Number.MAX_SAFE_INTEGER });
  return fc.string({ maxLength: 512 }); // of printable ASCII
}

const goodMember = ({ kind }: SettingRow): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 4, arbitrary: goodValue(kind).map((value) => ({ value })) },
    fc.tuple(goodValue(kind), fc.jsonValue()).map(([value, extra]) => ({ value, extra })),
    fc.constant(null),
  );

/** Nearly right, which finds more than what is quite wrong. */
const NEARLY: readonly unknown[] = [
  ...['PT0.999S', 'PT0S', 'P366D', '-PT1S', 'P', 'PT', 'PT1.5H1S', 'P999999999999999Y', 'pt1s', ' PT1S'],
  ...[0, -0, 1, -1, 8191, 8192.5, 262_145, 2 ** 31, 2 ** 53, 1e300, -1e300, Number.MIN_VALUE],
  ...['', 'Medium', 'true', '8192', '__proto__', 'constructor', '\ud800', '\u0000', 'x'.repeat(5_000)],
  ...['/etc/../x', 'etc/x', '/..', 'ab'.repeat(31), 'xy'.repeat(32), ',,,', 'cron,\nssh', 'é'],
  ...[true, false, null, {}, [], [{}], { value: { value: 'PT1S' } }, [['PT1S']]],
];

const badMember: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(...NEARLY).map((value) => ({ value })),
  fc.constantFrom(...NEARLY),
  fc.jsonValue().map((value) => ({ value })),
  fc.jsonValue(),
);

const recordOf = (settings: readonly SettingRow[], member: (setting: SettingRow) => fc.Arbitrary<unknown>) =>
  fc.record(Object.fromEntries(settings.map((setting) => [setting.name, member(setting)])), { requiredKeys: [] });

/** A configuration object that must be applied. */
export const goodDocument = (settings: readonly SettingRow[]): fc.Arbitrary<Document> => recordOf(settings, goodMember);

/** Anything in a configuration object's place: good ones, good ones with a few members gone wrong, and what has no order. */
export const anyDocument = (settings: readonly SettingRow[]): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 4, arbitrary: goodDocument(settings) },
    {
      weight: 4,
      arbitrary: fc
        .tuple(
          goodDocument(settings),
          fc.dictionary(fc.constantFrom(...settings.map(({ name }) => name), '__proto__', 'colour', ''), badMember, {
            maxKeys: 3,
          }),
        )
        .map(([good, bad]) => ({ ...good, ...bad })),
    },
    recordOf(settings, () => badMember),
    fc.jsonValue(),
  );
