import fc from 'fast-check';

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

/** A value that the property of that name may have. */
function goodValue(name: string): fc.Arbitrary<unknown> {
  if (/Frequency|Interval/.test(name)) return fc.constantFrom(...SPANS);
  if (name === 'maxLocalCacheSizeInBytes') return fc.integer({ min: 8192, max: Number.MAX_SAFE_INTEGER });
  if (name === 'maxMessageSizeInBytes') return fc.integer({ min: 8192, max: 262_144 });
  if (name.startsWith('eventPriority')) return fc.constantFrom('High', 'low', 'OFF', 'hIgH', 'Low');
  if (name.startsWith('aggregationEnabled') || name === 'baselineCustomChecksEnabled') return fc.boolean();
  if (name === 'baselineCustomChecksFilePath')
    return fc.constantFrom('/etc/vakt/checks.json', '/', '/a/..b/c', '//dev/zero');
  if (name === 'baselineCustomChecksFileHash') return fc.constantFrom('ab'.repeat(32), 'AB'.repeat(32), '0'.repeat(64));
  if (name === 'detectionsEnabled') return fc.boolean();
  if (name === 'detectionsMinimumLevel') return fc.constantFrom('low', 'MEDIUM', 'Critical', 'informational');
  if (name === 'detectionsSilencedUntil')
    return fc.constantFrom('', '2026-12-24T08:00:00Z', '2026-12-24t08:00:00.5+01:00');
  if (name === 'detectionsRulesHash') return fc.constantFrom('', 'ab'.repeat(32), 'AB'.repeat(32));
  if (name.startsWith('detectionsMaximum')) return fc.constantFrom('', '100/PT5M', '1/PT1S', '1000000/P1D');
  if (name === 'detectionsExceptions') return exceptions;
  return fc.string({ maxLength: 512 }); // of printable ASCII
}

const goodMember = (name: string): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 4, arbitrary: goodValue(name).map((value) => ({ value })) },
    fc.tuple(goodValue(name), fc.jsonValue()).map(([value, extra]) => ({ value, extra })),
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

const recordOf = (names: readonly string[], member: (name: string) => fc.Arbitrary<unknown>) =>
  fc.record(Object.fromEntries(names.map((name) => [name, member(name)])), { requiredKeys: [] });

/** A configuration object that must be applied. */
export const goodDocument = (names: readonly string[]): fc.Arbitrary<Document> => recordOf(names, goodMember);

/** Anything in a configuration object's place: good ones, good ones with a few members gone wrong, and what has no order. */
export const anyDocument = (names: readonly string[]): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 4, arbitrary: goodDocument(names) },
    {
      weight: 4,
      arbitrary: fc
        .tuple(
          goodDocument(names),
          fc.dictionary(fc.constantFrom(...names, '__proto__', 'colour', ''), badMember, { maxKeys: 3 }),
        )
        .map(([good, bad]) => ({ ...good, ...bad })),
    },
    recordOf(names, () => badMember),
    fc.jsonValue(),
  );
