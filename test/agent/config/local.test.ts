import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { settingPaths } from '../../../src/agent/config/environment.ts';
import {
  DEFAULT_CONFIG_FILE,
  filesOf,
  hashOfLocalFile,
  LocalSettings,
  readLocalConfiguration,
  readLocalSettings,
  refuseExampleHub,
} from '../../../src/agent/config/local.ts';
import { sourceOf, useCopies, usedCopies } from '../../../src/core/base/credential-copies.ts';
import { days, hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { PERMISSIONS } from '../../../src/core/contract/method.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { skip } from '../../harness/require.ts';

const IDENTITY = '"identity": { "kind": "moduleKey", "deviceId": "dev1", "keyFile": "/etc/vakt/module.key" }';

describe('readLocalSettings', () => {
  let folder: string;
  let file: string;

  beforeEach(() => {
    folder = temporaryFolder();
    file = join(folder, 'agent.json');
  });

  const read = (text: string, environment: NodeJS.ProcessEnv = {}) => {
    writeFileSync(file, text);
    return readLocalSettings(file, environment);
  };
  const warningsOf = (text: string, environment: NodeJS.ProcessEnv = {}) => {
    writeFileSync(file, text);
    return readLocalConfiguration(file, environment).warnings;
  };
  const refusal = (run: () => unknown): AgentError => {
    try {
      run();
    } catch (error) {
      assert.ok(error instanceof AgentError, String(error));
      return error;
    }
    throw new Error('was not refused');
  };
  const refused = (text: string, environment?: NodeJS.ProcessEnv) => refusal(() => read(text, environment));

  it('fills in the defaults', () => {
    assert.deepEqual(read(`{ ${IDENTITY} }`), {
      hub: { transport: 'auto' },
      identity: {
        kind: 'moduleKey',
        deviceId: 'dev1',
        moduleId: 'azureiotsecurity',
        keyFile: '/etc/vakt/module.key',
      },
      stateDirectory: '/var/lib/vakt',
      queueAgeLimit: days(30),
      store: { syncEvery: seconds(30) },
      messageRouting: 'telemetry',
      twinObjectName: 'ms_iotn:urn_azureiot_Security_SecurityAgentConfiguration',
      strictStart: false,
      logging: { level: 'info', diagnosticEventLevel: 'warn' },
      collectors: { loopbackConnections: false },
      audit: { backlogWait: false },
      detections: { enabled: true, rulesDirectory: '/etc/vakt/rules.d', redact: true },
      directMethods: Object.fromEntries(PERMISSIONS.map((name) => [name, true])),
      limits: {
        shortestMessageFrequency: seconds(10),
        shortestSnapshotFrequency: minutes(5),
        longestMessageFrequency: days(1),
        alwaysOn: [],
        messageUnitsPerDay: 2000,
      },
      memoryBudgetInMegabytes: 96,
      hostRoot: '/',
      controlSocket: '/run/vakt/control.sock',
    });
  });

  it('takes every setting', () => {
    const settings = {
      hub: {
        hostName: 'h',
        gatewayHostName: 'g:8883',
        trustedCaFile: '/ca.pem',
        transport: 'mqttWebSocket',
        proxy: 'http://user@proxy:3128',
        proxyPasswordFile: '/password',
        restEndpoint: 'localhost:8443',
      },
      identity: { kind: 'connectionString', file: '/secret' },
      agentId: '0B5C3F5e-93a4-4b6b-8d7c-0a1b2c3d4e5f',
      stateDirectory: '/state',
      queueAgeLimit: 'P7D',
      store: { syncEvery: 'PT6H' },
      messageRouting: 'both',
      twinObjectName: 'name',
      strictStart: true,
      logging: { level: 'silent', diagnosticEventLevel: 'trace' },
      collectors: { loopbackConnections: true },
      audit: { backlogWait: true },
      detections: { enabled: false, rulesDirectory: '/rules', badAddressesFile: '/bad.txt', redact: false },
      directMethods: Object.fromEntries(PERMISSIONS.map((name) => [name, false])),
      limits: {
        shortestMessageFrequency: 'PT1S',
        shortestSnapshotFrequency: 'PT2S',
        longestMessageFrequency: 'P365D',
        alwaysOn: 'Login, ProcessCreate,',
        mayBeOff: '',
        largestCacheInBytes: 8192,
        messageUnitsPerDay: 0,
      },
      memoryBudgetInMegabytes: 4096,
      hostRoot: '/host',
      controlSocket: '/socket',
    };
    const limits = {
      shortestMessageFrequency: seconds(1),
      shortestSnapshotFrequency: seconds(2),
      longestMessageFrequency: days(365),
      alwaysOn: ['Login', 'ProcessCreate'],
      mayBeOff: [],
      largestCacheInBytes: 8192,
      messageUnitsPerDay: 0,
    };
    const store = { syncEvery: hours(6) };
    assert.deepEqual(read(JSON.stringify(settings)), { ...settings, queueAgeLimit: days(7), store, limits });
  });

  describe('the name of the hub', () => {
    const named = (hub: object) => JSON.stringify({ ...JSON.parse(`{ ${IDENTITY} }`), hub });

    it('is a host, and may have a port', () => {
      for (const name of [
        'h',
        'hub.azure-devices.net',
        'HUB.example.',
        'localhost:8883',
        '10.0.0.1',
        '[::1]:8883',
        'a_b',
      ]) {
        assert.equal(read(named({ hostName: name, gatewayHostName: name })).hub.hostName, name);
      }
    });

    it('a URL is refused, and the error names the right host name', () => {
      for (const wrong of [
        'https://hub.azure-devices.net',
        'https://hub.azure-devices.net/',
        'hub.azure-devices.net/',
        'mqtts://hub.azure-devices.net/devices?x',
        ' hub.azure-devices.net',
        'HTTPS://hub.azure-devices.net#a/b',
      ]) {
        for (const setting of ['hostName', 'gatewayHostName']) {
          const { id, message, exitStatus } = refused(named({ [setting]: wrong }));
          assert.deepEqual([id, exitStatus], ['CONFIG_INVALID', 78]);
          assert.match(
            message,
            new RegExp(`hub\\.${setting} must be a host name.*: write "hub\\.azure-devices\\.net"$`),
          );
        }
      }
      for (const wrong of ['https://', '/', 'a b', 'a,b', 'hub:port', 'hub:123456', '-hub', 'user@hub', '\u202ehub']) {
        assert.match(refused(named({ hostName: wrong })).message, /hub\.hostName must be a host name/);
      }
    });

    it('is not the example, for who connects', () => {
      const settings = read(named({ hostName: 'Contoso.azure-devices.net' }));
      assert.throws(() => refuseExampleHub(settings, '/etc/vakt/agent.json'), {
        id: 'CONFIG_INCOMPLETE',
        exitStatus: 78,
        message: /still the example's/,
        remedy: /Set hub\.hostName in \/etc\/vakt\/agent\.json/,
      });
      refuseExampleHub(read(named({ hostName: 'contoso1.azure-devices.net' })));
    });
  });

  describe('the proxy', () => {
    const reading = (hub: object) => JSON.stringify({ ...JSON.parse(`{ ${IDENTITY} }`), hub });

    for (const url of [
      'http://proxy:3128',
      'http://user@proxy',
      'HTTP://Us%65r%40home@10.0.0.1:80/',
      'http://[::1]:8080',
      'https://proxy',
    ]) {
      it(`is ${url}`, () => assert.equal(read(reading({ proxy: url })).hub.proxy, url));
    }

    for (const [url, why] of Object.entries({
      'proxy:3128': /must be the URL of an HTTP proxy, http:\/\/host:port or http:\/\/user@host:port/,
      proxy: /must be the URL/,
      'http://': /must be the URL/,
      'http://proxy:99999': /must be the URL/,
      'http://proxy/path': /must be the URL/,
      'http://proxy?x': /must be the URL/,
      'http://proxy\n:3128': /must be the URL/,
      'ftp://proxy': /must be the URL/,
      'socks5://proxy:1080': /SOCKS is not supported/,
      'http://a%3Ab@proxy': /must have a user name without ":"/,
      'http://a%0Db@proxy': /must have a user name without ":" and control characters/,
      'http://a%ZZ@proxy': /must have a user name/,
      'http://user:S3cret!@proxy': /must not contain a password: .* hub\.proxyPasswordFile/,
      'http://:S3cret!@proxy': /must not contain a password/,
      'socks5://user:S3cret!@proxy': /SOCKS/,
    })) {
      it(`is not ${JSON.stringify(url)}`, () => {
        const { id, message, remedy } = refused(reading({ proxy: url }));
        assert.deepEqual([id, message.includes('hub.proxy must')], ['CONFIG_INVALID', true]);
        assert.match(message, why);
        assert.doesNotMatch(message + remedy, /S3cret/);
      });
    }

    it('has a password file, which systemd may replace, and which the run protects as a secret', () => {
      writeFileSync(file, reading({ proxy: 'http://user@proxy', proxyPasswordFile: 'proxy.password' }));
      const path = join(folder, 'proxy.password');
      assert.equal(readLocalSettings(file, {}).hub.proxyPasswordFile, path);
      assert.deepEqual(filesOf(readLocalSettings(file, {}), file).secrets, [path, '/etc/vakt/module.key']);
    });
  });

  it('refuses transports that do not exist, and a REST endpoint that is a URL', () => {
    const hub = { transport: 'amqp', restEndpoint: 'https://hub:443' };
    const { message } = refused(JSON.stringify({ ...JSON.parse(`{ ${IDENTITY} }`), hub }));
    assert.match(message, /hub\.transport must be one of "auto", "mqtt", "mqttWebSocket"/);
    assert.match(message, /hub\.restEndpoint must be a host name.*: write "hub:443"/);
  });

  it('refuses invalid or contradictory limits', () => {
    const limits = (some: object) =>
      refused(JSON.stringify({ ...JSON.parse(`{ ${IDENTITY} }`), limits: some })).message;
    for (const wrong of ['PT0.5S', 'P366D', '10 s', '']) {
      assert.match(limits({ shortestMessageFrequency: wrong }), /limits\.shortestMessageFrequency must be/);
    }
    assert.match(
      limits({ largestCacheInBytes: 8191 }),
      /limits\.largestCacheInBytes must be an integer of at least 8192/,
    );
    assert.match(limits({ messageUnitsPerDay: -1 }), /limits\.messageUnitsPerDay must be an integer of at least 0/);
    assert.match(
      limits({ shortestMessageFrequency: 'PT2M', longestMessageFrequency: 'PT1M' }),
      /limits has a shortestMessageFrequency that is longer/,
    );
  });

  it('takes limits from variables', () => {
    const { limits } = read(`{ ${IDENTITY} }`, {
      VAKT_LIMITS__MESSAGE_UNITS_PER_DAY: '10',
      VAKT_LIMITS__ALWAYS_ON: 'Login',
      VAKT_LIMITS__SHORTEST_MESSAGE_FREQUENCY: 'PT1S',
    });
    assert.deepEqual(
      [limits.messageUnitsPerDay, limits.alwaysOn, limits.shortestMessageFrequency],
      [10, ['Login'], seconds(1)],
    );
  });

  it('takes an age limit from an hour to ten years', () => {
    const limit = (text: string) => `{ ${IDENTITY}, "queueAgeLimit": ${JSON.stringify(text)} }`;
    assert.equal(read(limit('P10Y')).queueAgeLimit, days(3650));
    for (const wrong of ['PT59M', 'P11Y', '30 days', ''])
      assert.match(refused(limit(wrong)).message, /queueAgeLimit must/);
    assert.equal(refused(limit('P30X')).id, 'CONFIG_INVALID');
  });

  it('takes a time between syncs from a second to six hours', () => {
    const every = (text: string) => `{ ${IDENTITY}, "store": { "syncEvery": ${JSON.stringify(text)} } }`;
    assert.equal(read(every('PT15M')).store.syncEvery, minutes(15));
    for (const wrong of ['PT0.5S', 'PT7H', '15']) assert.match(refused(every(wrong)).message, /store\.syncEvery must/);
  });

  it('does not stumble over a byte order mark', () => {
    assert.equal(read(`\uFEFF{ ${IDENTITY} }`).stateDirectory, '/var/lib/vakt');
  });

  it('allows comments and trailing commas', () => {
    const text = `// a line\n{ /* in between */ ${IDENTITY}, "logging": { "level": "debug", }, }\n`;
    assert.equal(read(text).logging.level, 'debug');
  });

  it("starts relative paths at the file's folder", () => {
    const settings = read(`{
      "identity": { "kind": "connectionString", "file": "secret" },
      "hub": { "trustedCaFile": "../ca.pem", "hostName": "not.a.path" },
      "stateDirectory": "./state", "hostRoot": ".", "controlSocket": "run/sock"
    }`);
    assert.deepEqual(settings.identity, { kind: 'connectionString', file: join(folder, 'secret') });
    assert.equal(settings.hub.trustedCaFile, join(folder, '..', 'ca.pem'));
    assert.equal(settings.hub.hostName, 'not.a.path');
    assert.equal(settings.stateDirectory, join(folder, 'state'));
    assert.equal(settings.hostRoot, folder);
    assert.equal(settings.controlSocket, join(folder, 'run', 'sock'));
  });

  describe('variables', () => {
    it('overrule the file, at any depth', () => {
      const settings = read(`{ ${IDENTITY}, "logging": { "level": "debug", "diagnosticEventLevel": "error" } }`, {
        VAKT_LOGGING__LEVEL: 'fatal',
        VAKT_HUB__HOST_NAME: 'contoso.azure-devices.net',
        VAKT_IDENTITY__DEVICE_ID: 'dev2',
        VAKT_STATE_DIRECTORY: 'state',
      });
      assert.deepEqual(settings.logging, { level: 'fatal', diagnosticEventLevel: 'error' });
      assert.equal(settings.hub.hostName, 'contoso.azure-devices.net');
      assert.ok(settings.identity.kind === 'moduleKey' && settings.identity.deviceId === 'dev2');
      assert.equal(settings.stateDirectory, join(folder, 'state'));
    });

    it('raise a warning with the nearest name when they are not settings', () => {
      const environment = { VAKT_HUB__HOSTNAME: 'x', VAKT_RELEASE: '1', VAKT_REQUIRE_ALL: '1', OTHER: '' };
      assert.deepEqual(warningsOf(`{ ${IDENTITY} }`, environment), [
        'the variable VAKT_HUB__HOSTNAME is not a setting; did you mean "VAKT_HUB__HOST_NAME"?',
      ]);
    });

    it('variables that Kubernetes and Docker create for a service called vakt… set nothing', () => {
      const environment: NodeJS.ProcessEnv = {
        VAKT_NAME: '/web/vakt',
        VAKT_ENV_npm__config_cache: '/tmp',
        VAKT_HUB_2_NAME: '/web/vakt-hub-2',
        VAKT_HUB_2_ENV_HOME: '/root',
        VAKT_PORT_80_TCP_PORT_START: '80',
      };
      for (const service of ['VAKT', 'VAKT_HUB_2', 'VAKT__HUB'])
        Object.assign(environment, {
          [`${service}_SERVICE_HOST`]: '10.96.0.7',
          [`${service}_SERVICE_PORT`]: '9100',
          [`${service}_SERVICE_PORT_METRICS`]: '9100',
          [`${service}_PORT`]: 'tcp://10.96.0.7:9100',
          [`${service}_PORT_9100_TCP`]: 'tcp://10.96.0.7:9100',
          [`${service}_PORT_9100_TCP_PROTO`]: 'tcp',
          [`${service}_PORT_9100_TCP_PORT`]: '9100',
          [`${service}_PORT_9100_TCP_ADDR`]: '10.96.0.7',
          [`${service}_PORT_53_UDP_ADDR`]: '10.96.0.7',
        });
      assert.deepEqual(read(`{ ${IDENTITY} }`, environment), read(`{ ${IDENTITY} }`));
    });

    it('raise a warning when they only resemble those of a service', () => {
      for (const [name, value] of [
        ['VAKT_HUB_HOST_NAME', 'contoso.azure-devices.net'],
        ['VAKT_HUB__PORT', '8883'],
        ['VAKT_SERVICE', '10.96.0.7'],
        ['VAKT_IDENTITY__KEY_FILE_NAME', '/etc/vakt/secrets/module.key'],
        ['VAKT_IDENTITY__FILE_NAME', '/secrets/vakt'],
        ['VAKT_IDENTITY_KEY_FILE_NAME', '/secrets/module.key'],
        ['VAKT_STATE_DIRECTORY_NAME', '/var/lib/vakt'],
        ['VAKT_HUB__ENV_PROXY', 'http://proxy:3128'],
      ] as const)
        assert.match(warningsOf(`{ ${IDENTITY} }`, { [name]: value }).join(), new RegExp(`${name} is not a setting`));
    });

    it('variables are checked like the file', () => {
      assert.match(
        refused(`{ ${IDENTITY} }`, { VAKT_LOGGING__LEVEL: 'loud' }).message,
        /logging\.level must be one of/,
      );
      assert.match(refused(`{ ${IDENTITY} }`, { VAKT_HUB__HOST_NAME: '' }).message, /hub\.hostName must not be empty/);
    });

    it('variables replace a member of the file that is not an object', () => {
      assert.equal(read(`{ ${IDENTITY}, "hub": null }`, { VAKT_HUB__HOST_NAME: 'h' }).hub.hostName, 'h');
    });

    it('can say true and false, and nothing else of that kind', () => {
      const loopback = (value: string) =>
        read(`{ ${IDENTITY} }`, { VAKT_COLLECTORS__LOOPBACK_CONNECTIONS: value }).collectors.loopbackConnections;
      assert.equal(loopback('true'), true);
      assert.equal(loopback('false'), false);
      assert.throws(() => loopback('yes'), /loopbackConnections must be true or false/);
    });

    it('can say a number, within its range', () => {
      const budget = (value: string) =>
        read(`{ ${IDENTITY} }`, { VAKT_MEMORY_BUDGET_IN_MEGABYTES: value }).memoryBudgetInMegabytes;
      assert.equal(budget('48'), 48);
      for (const value of ['47', '4097', '96.5', '1e2', '-96', '', 'much', '9'.repeat(400)]) {
        assert.throws(() => budget(value), /memoryBudgetInMegabytes must be an integer from 48 to 4096/, value);
      }
    });

    it('exist for every setting, under a name of its own', () => {
      const variables = settingPaths(LocalSettings).map(({ variable }) => variable);
      assert.ok(variables.includes('VAKT_HUB__HOST_NAME') && variables.includes('VAKT_DIRECT_METHODS__COLLECT_NOW'));
      assert.equal(new Set(variables).size, variables.length);
      const page = readFileSync('config/README.md', 'utf8');
      assert.deepEqual(
        variables.filter((variable) => !page.includes(`\`${variable}\``)),
        [],
      );
    });
  });

  describe('warns about', () => {
    it('unknown settings with the nearest name, and starts as an older version with the file of a newer one', () => {
      const text = `{ ${IDENTITY}, "hubb": {}, "logging": { "levle": "info", "level": "warn" }, "entirelyOther": 1 }`;
      assert.deepEqual(warningsOf(text), [
        'hubb is not a setting; did you mean "hub"?',
        'logging.levle is not a setting; did you mean "level"?',
        'entirelyOther is not a setting',
      ]);
      assert.equal(read(text).logging.level, 'warn');
    });

    it('settings of the identity that are misspelt or of another kind', () => {
      const identity = '"kind": "moduleKey", "deviceID": "e", "deviceId": "d", "keyFile": "/k", "file": "/secret"';
      const text = `{ "identity": { ${identity} } }`;
      assert.deepEqual(warningsOf(text), [
        'identity.deviceID is not a setting; did you mean "deviceId"?',
        'identity.file is not a setting of this kind',
      ]);
      assert.ok(!('file' in read(text).identity));
    });

    it('__proto__, which sets nothing', () => {
      for (const text of [
        `{ ${IDENTITY}, "__proto__": { "strictStart": true } }`,
        `{ ${IDENTITY}, "\\u005f_proto__": { "strictStart": true } }`,
        `{ ${IDENTITY}, "__proto__": null }`,
        `{ ${IDENTITY}, "limits": { "__proto__": { "messageUnitsPerDay": 0 } } }`,
      ]) {
        assert.match(warningsOf(text).join(), /__proto__ is not a setting$/);
        assert.deepEqual(read(text), read(`{ ${IDENTITY} }`));
      }
    });

    it('thousands of names with a bounded number of short messages', () => {
      const members = Array.from({ length: 2_000 }, (_, n) => `"x${'y'.repeat(90)}${n}": 1`).join();
      const warnings = warningsOf(`{ ${IDENTITY}, ${members} }`);
      assert.equal(warnings.length, 21);
      assert.ok(warnings.every(({ length }) => length <= 200));
      assert.equal(warnings.at(-1), '1980 more names are not settings');
    });
  });

  describe('refuses', () => {
    it('a setting that is there twice, since readers differ in which one they take', () => {
      const error = refused(
        `{\n ${IDENTITY},\n "limits": { "messageUnitsPerDay": 5, "messageUnitsPerDay": 0 },\n "limits": {} }`,
      );
      assert.equal(error.id, 'CONFIG_INVALID');
      assert.match(
        error.message,
        /: limits\.messageUnitsPerDay is there twice, again at line 3, column \d+; limits is there twice, again at line 4, column 2$/,
      );
    });

    for (const [what, text] of [
      ['objects', `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`],
      ['lists', `${'['.repeat(60_000)}${']'.repeat(60_000)}`],
      ['an end without a beginning', `${'['.repeat(60_000)}`],
    ] as const) {
      it(`nesting deeper than any setting: ${what}`, () => {
        const error = refused(`{ ${IDENTITY},\n"limits": ${text} }`);
        assert.deepEqual([error.id, error.exitStatus], ['CONFIG_FILE_NOT_JSON', 78]);
        assert.match(error.message, /nested more than \d+ levels deep at line 2, column \d+/);
      });
    }

    it('a NUL in a path and in any other text', () => {
      for (const [text, name] of [
        [`{ ${IDENTITY}, "stateDirectory": "/var/lib/vakt\\u0000x" }`, 'stateDirectory'],
        [`{ ${IDENTITY}, "hub": { "trustedCaFile": "ca\\u0000" } }`, 'hub.trustedCaFile'],
        ['{ "identity": { "kind": "moduleKey", "deviceId": "d", "keyFile": "k\\u0000" } }', 'identity.keyFile'],
        ['{ "identity": { "kind": "moduleKey", "deviceId": "d\\u0000", "keyFile": "k" } }', 'identity.deviceId'],
      ] as const) {
        const error = refused(text);
        assert.equal(error.id, 'CONFIG_INVALID');
        assert.ok(error.message.includes(`: ${name} must not contain a NUL character`), error.message);
      }
    });

    it('everything that is wrong at once', () => {
      const error = refused(`{ "identity": { "kind": "moduleKey", "deviceId": 7, "moduleId": "", "keyfile": "/k" },
        "agentId": "me", "messageRouting": "Security", "logging": { "level": "loud" }, "hub": { "hostName": null } }`);
      assert.equal(error.id, 'CONFIG_INVALID');
      for (const fault of [
        'identity.deviceId must be a string',
        'identity.moduleId must not be empty',
        'identity.keyFile is missing',
        'identity.keyfile is not a setting; did you mean "keyFile"?',
        'agentId must be a UUID',
        'messageRouting must be one of "security", "telemetry", "both"',
        'logging.level must be one of "trace", "debug", "info", "warn", "error", "fatal", "silent"',
        'hub.hostName must be a string',
      ]) {
        assert.ok(error.message.includes(fault), `${fault}\nin ${error.message}`);
      }
    });

    for (const [text, id, exitStatus, message] of [
      ['{}', 'CONFIG_INCOMPLETE', 78, /identity is missing/],
      ['{ "identity": {} }', 'CONFIG_INCOMPLETE', 78, /identity\.kind is missing/],
      ['{ "identity": { "kind": "moduleKey" } }', 'CONFIG_INCOMPLETE', 78, /identity\.deviceId is missing.*keyFile/],
      ['{ "identity": { "kind": "password" } }', 'CONFIG_INVALID', 78, /identity\.kind must be one of .*moduleKey/],
      ['[]', 'CONFIG_INVALID', 78, /\(the whole\) must not be a list/],
      ['null', 'CONFIG_INVALID', 78, /must be an object/],
      ['7', 'CONFIG_INVALID', 78, /must be an object/],
      ['', 'CONFIG_FILE_NOT_JSON', 78, /line 1, column 1/],
      ['{\n  "hub": {]\n}', 'CONFIG_FILE_NOT_JSON', 78, /at line 2, column 11/],
      ['{ "agentId": "x" ', 'CONFIG_FILE_NOT_JSON', 78, /is not JSON: a missing } at line 1, column 18$/],
      ['hub = contoso', 'CONFIG_FILE_NOT_JSON', 78, /is not JSON: text without quotes at line 1, column 1$/],
    ] as const) {
      it(`${JSON.stringify(text)} as ${id}`, () => {
        const error = refused(text);
        assert.equal(error.id, id);
        assert.equal(error.exitStatus, exitStatus);
        assert.match(error.message, message);
        assert.ok(error.message.includes(file) && error.remedy.includes(file));
      });
    }

    it('a file that is not there', () => {
      const error = refusal(() => readLocalSettings(join(folder, 'none.json'), { VAKT_HUB__HOST_NAME: 'h' }));
      assert.deepEqual([error.id, error.reason, error.exitStatus], ['CONFIG_FILE_MISSING', 'File Not Exist', 78]);
    });

    it('a file that cannot be read', () => {
      const error = refusal(() => readLocalSettings(folder, {}));
      assert.match(error.remedy, /^Make .* a regular file/);
      assert.deepEqual([error.id, error.reason, error.exitStatus], ['CONFIG_FILE_UNREADABLE', 'File Permissions', 78]);
    });
  });

  describe('with a folder of credentials', () => {
    const keyFile = (path: string) => {
      const environment = { CREDENTIALS_DIRECTORY: join(folder, 'credentials') };
      const { identity } = read(
        `{ "identity": { "kind": "moduleKey", "deviceId": "d", "keyFile": "${path}" } }`,
        environment,
      );
      assert.ok(identity.kind === 'moduleKey');
      return identity.keyFile;
    };
    const readsOf = (path: string) => sourceOf(keyFile(path));
    afterEach(() => useCopies(new Map()));
    beforeEach(() => {
      mkdirSync(join(folder, 'credentials'));
      for (const name of ['module.key', 'secrets_other.key']) writeFileSync(join(folder, 'credentials', name), '');
    });

    it('reads the one that is named as a secret file is', () => {
      assert.equal(readsOf('module.key'), join(folder, 'credentials/module.key'));
      assert.equal(readsOf('secrets/other.key'), join(folder, 'credentials/secrets_other.key'));
      assert.equal(readsOf(join(folder, 'secrets/other.key')), join(folder, 'credentials/secrets_other.key'));
    });

    it('names the file itself, which is what an operator changes', () => {
      assert.equal(keyFile('secrets/other.key'), join(folder, 'secrets/other.key'));
      const copy = join(folder, 'credentials/secrets_other.key');
      assert.deepEqual(usedCopies(), { [join(folder, 'secrets/other.key')]: copy });
    });

    it('reads none that an earlier configuration had', () => {
      const path = keyFile('module.key');
      read(`{ ${IDENTITY} }`, {});
      assert.equal(sourceOf(path), path);
    });

    it('replaces a certificate, too', () => {
      const environment = { CREDENTIALS_DIRECTORY: join(folder, 'credentials') };
      writeFileSync(join(folder, 'credentials', 'secrets_dev1.pem'), '');
      writeFileSync(
        file,
        '{ "identity": { "kind": "moduleCertificate", "deviceId": "d", "certificateFile": "secrets/dev1.pem", "keyFile": "module.key" } }',
      );
      const settings = readLocalSettings(file, environment);
      const { identity } = settings;
      assert.ok(identity.kind === 'moduleCertificate');
      assert.equal(sourceOf(identity.certificateFile), join(folder, 'credentials/secrets_dev1.pem'));
      assert.deepEqual(filesOf(settings, file).secrets, [join(folder, 'module.key')]); // a certificate is not a secret
    });

    it('reads the file itself where there is no such credential, or it lies elsewhere', () => {
      assert.equal(readsOf('third.key'), join(folder, 'third.key'));
      assert.equal(readsOf('/etc/module.key'), '/etc/module.key');
      assert.equal(readsOf('../credentials/module.key'), join(folder, '../credentials/module.key'));
    });

    it('reads no other file from that folder', () => {
      const environment = { CREDENTIALS_DIRECTORY: join(folder, 'credentials') };
      const { hub } = read(`{ "hub": { "trustedCaFile": "module.key" }, ${IDENTITY} }`, environment);
      assert.equal(sourceOf(hub.trustedCaFile ?? ''), join(folder, 'module.key'));
    });
  });

  it('never repeats a value, which may be a secret in the wrong place', () => {
    const secret = 'HostName=h;SharedAccessKey=S3CRET';
    for (const text of [
      `{ "identity": "${secret}" }`,
      `{ "identity": ["${secret}"] }`,
      `{ "identity": { "kind": "${secret}" } }`,
      `{ "identity": { "kind": "moduleKey", "deviceId": ["${secret}"], "keyFile": "/k" } }`,
      `{ "identity": { "kind": "connectionString", "connectionString": "${secret}" } }`,
      `{ ${IDENTITY}, "hub": "${secret}", "logging": "${secret}" }`,
      `{ ${IDENTITY}, "agentId": "${secret}", "messageRouting": "${secret}" }`,
      `{ ${IDENTITY}, "hub": { "hostName": "${secret.repeat(200)}" } }`,
      `{ "identity": ${secret} }`,
      `{ ${IDENTITY} } "${secret}"`,
      `"${secret}"`,
    ]) {
      const error = refused(text);
      assert.doesNotMatch(
        `${error.message} ${error.remedy} ${error.stack} ${JSON.stringify(error.cause ?? '')}`,
        /S3CRET/,
      );
    }
  });
});

describe('readLocalSettings without a file', () => {
  it('lives on variables alone, if the default file is missing', function () {
    if (existsSync(DEFAULT_CONFIG_FILE)) skip(this, `this machine has a ${DEFAULT_CONFIG_FILE}`);
    const settings = readLocalSettings(undefined, {
      VAKT_IDENTITY__KIND: 'connectionString',
      VAKT_IDENTITY__FILE: '/run/secrets/vakt',
    });
    assert.deepEqual(settings.identity, { kind: 'connectionString', file: '/run/secrets/vakt' });
  });

  it('reports a missing file if no variable is set', function () {
    if (existsSync(DEFAULT_CONFIG_FILE)) skip(this, `this machine has a ${DEFAULT_CONFIG_FILE}`);
    assert.throws(() => readLocalSettings(undefined, {}), {
      id: 'CONFIG_FILE_MISSING',
      message: /\/etc\/vakt\/agent\.json/,
    });
  });
});

describe('hashOfLocalFile', () => {
  it('is what sha256sum prints', () => {
    const file = join(temporaryFolder(), 'agent.json');
    writeFileSync(file, '{}');
    assert.equal(hashOfLocalFile(file), '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a');
  });

  it('is empty without a file, which differs from an agent that does not say it', () =>
    assert.equal(hashOfLocalFile('/nonexistent/agent.json'), ''));
});
