import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { MqttClient } from 'mqtt';
import type { Browser, BrowserContextOptions, Locator, Page as Tab } from 'playwright-core';
import { minutes } from '../../../src/core/base/duration.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { Page } from '../../../src/emulator/page/page.ts';
import { require } from '../../harness/require.ts';
import { until } from '../../harness/until.ts';
import { OBJECT, QUICK, TestBed, DEVICE as THE_DEVICE, MODULE as THE_MODULE } from '../../integration/test-bed.ts';
import { DEVICE, MODULE, module } from '../clients.ts';
import { NO_CHROMIUM, openTab, REBOUND, startChromium, type Watched } from './chromium.ts';
import { alert, connect, event, portOf, send, start, tokenOf } from './client.ts';
import { faintTexts } from './contrast.ts';

const PHONE: BrowserContextOptions = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };
const TABS = ['activity', 'twin', 'methods', 'faults'] as const;

/** Strings that would run code or hide text if they were interpreted. */
const ATTACKS = [
  '<img src=x onerror="globalThis.attacked=1;alert(1)">',
  '</script><script>globalThis.attacked=2</script>',
  '"><svg/onload=globalThis.attacked=3>',
  '<a href="javascript:globalThis.attacked=4">x</a>',
  '<style>body{display:none}</style><base href="https://evil.test/"><meta http-equiv=refresh content="0;url=https://evil.test/">',
  '{{constructor.constructor("globalThis.attacked=5")()}}',
] as const;
/** What looks like a harmless name: right-to-left override, then a mark that ends it. */
const BIDI = 'invoice\u202efdp.exe\u2066';
const BIDI_SHOWN = 'invoice<U+202E>fdp.exe<U+2066>';

describe('the page of the emulator, in a browser @release', function () {
  this.timeout(minutes(3));
  let browser: Browser;
  const tabs: Watched[] = [];

  before(async function () {
    require(this, NO_CHROMIUM);
    browser = await startChromium();
  });
  after(() => browser?.close());
  afterEach(async () => {
    for (const { tab } of tabs.splice(0)) await tab.close();
  });

  /** Opens a page; at the end of the test nothing may have gone wrong in it, and no request may have left the machine. */
  const show = async (page: Page, options?: BrowserContextOptions): Promise<Watched> => {
    const watched = await openTab(browser, page.address, options);
    tabs.push(watched);
    await watched.tab.getByText('Live', { exact: true }).waitFor();
    return watched;
  };
  const assertHarmless = async ({ tab, requests, complaints }: Watched, page: Page) => {
    assert.deepEqual(complaints, []);
    assert.deepEqual(
      requests.filter((url) => new URL(url).origin !== new URL(page.address).origin),
      [],
    );
    for (const url of requests.slice(1))
      assert.ok(!url.includes(tokenOf(page)), 'the token is in the address of a request');
    assert.equal(await tab.evaluate('globalThis.attacked'), undefined);
  };
  const textOf = async (place: Locator) => (await place.textContent()) ?? '';
  const select = (tab: Tab, name: string) => tab.getByRole('tab', { name }).click();

  describe('beside an agent', () => {
    let bed: TestBed;
    let page: Page;

    before(async () => {
      bed = await TestBed.open({ desired: { ...QUICK, eventPriorityOSBaseline: { value: 'Off' } } });
      page = await Page.open(bed.hub, { port: 0 });
      bed.startAgent();
      await bed.hub.waitForReported(({ [OBJECT]: mirror }) => mirror !== undefined);
    });
    after(async () => {
      await page?.close();
      await bed?.close();
    });

    it('shows a program start as it arrives, with an attack in its command line as text', async () => {
      const watched = await show(page);
      const { tab } = watched;
      // `sleep` lives long enough to be found by every source of starts.
      const children = ATTACKS.map((text) => spawn('/bin/sh', ['-c', 'sleep 4; :', 'vakt-test', text, BIDI]));
      await tab.getByRole('searchbox', { name: 'Search' }).first().fill('ProcessCreate vakt-test');
      for (const { length } of [ATTACKS[0], ATTACKS[1], ATTACKS[2]]) assert.ok(length < 60); // such that lines aren't cut
      for (const text of ATTACKS.slice(0, 3)) await tab.locator('.events .line', { hasText: text }).first().waitFor();
      const line = await textOf(tab.locator('.events .line', { hasText: ATTACKS[2] }).first());
      assert.ok(line.includes(BIDI_SHOWN), line);
      await tab.locator('.events summary').first().click();
      const raw = tab.locator('.events pre');
      await raw.getByText('"Events"').waitFor();
      assert.ok((await textOf(raw)).includes('\\u202efdp'));
      assert.equal(await tab.locator('main img, main script, main style, main svg[onload], main a').count(), 0);
      await assertHarmless(watched, page);
      await Promise.all(children.map((child) => child.exitCode ?? once(child, 'exit')));
    });

    it('sends an edited desired property, and shows the agent mirror it', async () => {
      const watched = await show(page);
      const { tab } = watched;
      await select(tab, 'Twin');
      const row = tab.getByRole('row', { name: /^aggregationIntervalProcessCreate/ });
      await row.getByRole('textbox').fill('PT2M');
      await row.getByText('not sent').waitFor();
      await tab.getByRole('button', { name: 'Send to the hub' }).click();
      await tab.getByText(/The agent has applied version \d+/).waitFor();
      await row.locator('.reported', { hasText: 'PT2M' }).waitFor();
      assert.equal(await row.locator('.mark').count(), 0);
      const object = bed.hub.twin(THE_DEVICE, THE_MODULE).reported[OBJECT] as Record<string, unknown>;
      assert.deepEqual(object.aggregationIntervalProcessCreate, { value: 'PT2M' });
      await assertHarmless(watched, page);
    });

    it('names all faults before anything is sent, and shows the agent refuse what is sent anyway', async () => {
      const { tab, complaints } = await show(page);
      await select(tab, 'Twin');
      const { $version } = bed.hub.twin(THE_DEVICE, THE_MODULE).desired;
      const row = tab.getByRole('row', { name: /^snapshotFrequency/ });
      await row.getByRole('textbox').fill('soon');
      await tab
        .getByRole('row', { name: /^maxMessageSizeInBytes/ })
        .getByRole('textbox')
        .fill('7');
      await tab.getByText('2 faults: the agent would apply nothing.').first().waitFor();
      await tab.getByRole('button', { name: 'Send to the hub' }).click();
      await tab.getByText('Not sent: the agent would reject').waitFor();
      assert.equal(bed.hub.twin(THE_DEVICE, THE_MODULE).desired.$version, $version);
      await tab.getByRole('button', { name: 'Send anyway' }).click();
      await tab.getByText(/The agent rejects version \d+: .*snapshotFrequency must be/).waitFor();
      await row.locator('.mark', { hasText: 'differs' }).waitFor();
      // Desired next to reported properties as JSON, and back to the form.
      await tab.getByText('The whole twin as JSON').click();
      const text = tab.getByRole('textbox', { name: 'Desired properties as JSON' });
      await text.fill(JSON.stringify({ [OBJECT]: QUICK }));
      await tab.getByRole('button', { name: 'Send to the hub' }).click();
      await tab.getByText(/The agent has applied version \d+/).waitFor();
      assert.ok(
        complaints.every((line) => line.includes('422')),
        complaints.join('\n'),
      );
    });

    it('rejects an edit if the twin was changed in the meantime', async () => {
      const { tab } = await show(page);
      await select(tab, 'Twin');
      const row = tab.getByRole('row', { name: /^aggregationIntervalConnectionCreate/ });
      await row.getByRole('textbox').fill('PT3M');
      bed.desire({ hubResourceId: { value: 'changed by another' } });
      await tab.getByText(/The desired properties have changed at the hub/).waitFor();
      await tab.getByRole('button', { name: 'Send to the hub' }).click();
      const refusal = tab.getByText(/Not sent: the desired properties have changed in the meantime/);
      await refusal.waitFor();
      const { $version: before } = bed.hub.twin(THE_DEVICE, THE_MODULE).reported;
      await bed.hub.invokeMethod(THE_DEVICE, THE_MODULE, 'pause', { duration: 'PT1M', reason: 'to be reported' });
      const shown = async () =>
        Number(/version (\d+) reported/.exec(await textOf(tab.getByText(/Version \d+ desired/)))?.[1]);
      await until('the page shows a later report', async () => (await shown()) > before);
      assert.equal(await refusal.count(), 1, 'a reading has taken the place of the answer');
      await bed.hub.invokeMethod(THE_DEVICE, THE_MODULE, 'resume', {});
      assert.equal(await row.getByRole('textbox').inputValue(), 'PT3M');
      await tab.getByRole('button', { name: 'Discard the changes' }).click();
      assert.equal(await row.getByRole('textbox').inputValue(), '');
      const other = tab.getByRole('row', { name: /^hubResourceId/ });
      assert.equal(await other.getByRole('textbox').inputValue(), 'changed by another');
    });

    it('calls direct methods with the forms of their declarations, and shows what is answered', async () => {
      const watched = await show(page);
      const { tab } = watched;
      await select(tab, 'Methods');
      await tab.getByRole('button', { name: 'Call ping' }).click();
      const ping = tab.getByRole('region', { name: 'ping', exact: true });
      await ping.getByText('Answered with status 200.').waitFor();
      assert.match(await textOf(ping.locator('pre')), /"agentId": "[\w-]{36}"/);
      const collect = tab.getByRole('region', { name: 'collectNow', exact: true });
      await collect.getByLabel('LocalUsers').check();
      await collect.getByRole('button').click();
      await collect.getByText('Answered with status 200.').waitFor();
      assert.deepEqual(Object.keys(JSON.parse(await textOf(collect.locator('pre'))).collected), ['LocalUsers']);
      const pause = tab.getByRole('region', { name: 'pause', exact: true });
      await pause.getByRole('button').click();
      assert.equal(await pause.getByRole('textbox', { name: 'duration' }).getAttribute('aria-invalid'), 'true');
      await pause.getByRole('textbox', { name: 'duration' }).fill('forever');
      await pause.getByRole('textbox', { name: 'reason' }).fill('test');
      await pause.getByRole('button').click();
      await pause.getByText('Answered with status 400.').waitFor();
      await assertHarmless(watched, page);
    });

    it('switches faults on and off, and shows that they apply', async () => {
      const watched = await show(page);
      const { tab } = watched;
      await select(tab, 'Faults');
      const before = bed.hub.connections.length;
      await tab.getByRole('button', { name: 'Disconnect the module' }).click();
      await until('the agent to come back', () => bed.hub.connections.length > before);
      const slow = tab.getByRole('switch', { name: 'The hub is slow' });
      await slow.click();
      await tab.getByText(/On; applied (once|\d+ times)\./).waitFor();
      assert.equal(await slow.getAttribute('aria-checked'), 'true');
      assert.deepEqual(
        bed.hub.faults.active().map(({ kind, ms }) => [kind, ms]),
        [['delayAcknowledgements', 5_000]],
      );
      await tab.getByRole('button', { name: 'Switch all faults off' }).click();
      await until('the switch to go off', async () => (await slow.getAttribute('aria-checked')) === 'false');
      assert.deepEqual(bed.hub.faults.active(), []);
      await assertHarmless(watched, page);
    });

    it('can be used with the keyboard alone', async () => {
      const watched = await show(page);
      const { tab } = watched;
      const { keyboard } = tab;
      const focused = (selector: string) =>
        tab.evaluate(`document.activeElement?.matches(${JSON.stringify(selector)}) ?? false`);
      /** Presses a key until the focus is where it should be; every element on the way must show it. */
      const go = async (key: string, selector: string) => {
        for (let presses = 0; presses < 400; presses++) {
          await keyboard.press(key);
          assert.notEqual(await tab.evaluate('getComputedStyle(document.activeElement).outlineStyle'), null);
          if (await focused(selector)) return;
        }
        assert.fail(`no ${selector} by ${key}`);
      };
      await keyboard.press('Tab');
      assert.ok(await focused('.skip'));
      await keyboard.press('/');
      assert.ok(await focused('#search'), 'the key of the search');
      await go('Shift+Tab', '[role=tab]');
      assert.ok(await focused('#tab-activity'));
      await keyboard.press('ArrowRight');
      assert.ok(await focused('#tab-twin'));
      await go('Tab', '#twin input[type=search]');
      await keyboard.type('lowPriorityMessageFrequency');
      await go('Tab', '#twin .setting input');
      assert.equal(await tab.evaluate('getComputedStyle(document.activeElement).outlineStyle'), 'solid');
      await keyboard.type('PT3S');
      await keyboard.press('Shift+Home');
      await keyboard.type('PT3S');
      await go('Shift+Tab', '#twin button.primary');
      await keyboard.press('Enter');
      await tab.getByText(/The agent has applied version \d+/).waitFor();
      await go('Shift+Tab', '[role=tab]');
      await keyboard.press('End');
      assert.ok(await focused('#tab-faults'));
      await go('Tab', '[role=switch]');
      await keyboard.press('Space');
      await tab.locator(':focus[aria-checked=true]').waitFor();
      assert.equal(bed.hub.faults.active().length, 1);
      await keyboard.press('Space');
      await until('the end of the fault', () => bed.hub.faults.active().length === 0);
      await assertHarmless(watched, page);
    });
  });

  describe('beside a module that sends what it likes', () => {
    let hub: HubEmulator;
    let page: Page;
    let client: MqttClient;

    beforeEach(async () => {
      hub = await HubEmulator.start({ modules: [module] });
      page = await Page.open(hub, { port: 0 });
      client = await connect(hub);
    });
    afterEach(async () => {
      client.end(true);
      await page.close();
      await hub.stop();
    });

    /** An attack wherever a message can have a text. */
    const hostileMessage = (text: string) => ({
      Events: [
        event(text, { [text]: text }),
        start(text, BIDI),
        alert({
          AlertId: text,
          AlertType: text,
          RuleTitle: text,
          CommandLine: text,
          Remediation: text,
          Techniques: text,
          LastSeenUtc: text,
        }),
        { ...event('Diagnostic', { Severity: text, Message: text }), TimestampUTC: text },
        event('LocalUsers', {
          UserName: text,
          UserId: text,
          GroupNames: text,
          ExtraDetails: { SnapshotId: text, Part: text, Parts: text },
        }),
      ],
    });
    /** Reports properties, as a module does. */
    const report = async (properties: object) => {
      const seen = hub.waitForReported(({ $version }) => $version > 1);
      client.publish('$iothub/twin/PATCH/properties/reported/?$rid=1', JSON.stringify(properties), { qos: 0 });
      await seen;
    };

    it('shows every attack as text, in events, alerts and raw messages', async () => {
      const watched = await show(page);
      const { tab } = watched;
      for (const text of ATTACKS) await send(hub, client, hostileMessage(text));
      await send(hub, client, ATTACKS[0]);
      await tab
        .locator('.alerts .row')
        .nth(ATTACKS.length - 1)
        .waitFor();
      await tab.locator('.events .line', { hasText: BIDI_SHOWN }).first().waitFor();
      for (const text of ATTACKS.slice(0, 4)) {
        await tab.locator('.alerts bdi', { hasText: text }).first().waitFor();
        await tab.locator('.events .kind bdi', { hasText: text }).first().waitFor();
      }
      for (const summary of await tab.locator('.row summary').all()) await summary.click();
      for (const raw of await tab.locator('.row pre').all()) await raw.getByText('"deviceId"').waitFor();
      const counts = [
        'main img',
        'main script',
        'main style',
        'main a',
        'main base',
        'main meta',
        'main svg:not([role=img])',
      ];
      for (const selector of counts) assert.equal(await tab.locator(selector).count(), 0, selector);
      await assertHarmless(watched, page);
    });

    it('shows a hostile twin as text, desired and reported', async () => {
      const hostile = Object.fromEntries(ATTACKS.map((text, index) => [`name${index}<img/src=x>`, text]));
      const mirror = {
        snapshotFrequency: { value: ATTACKS[0] },
        hubResourceId: { value: BIDI },
        ['__proto__']: { value: 1 },
      };
      const configuration = { desiredVersion: 1e9, errors: { [ATTACKS[0].replace(/[. ]/g, '')]: ATTACKS[1] } };
      hub.patchDesired(DEVICE, MODULE, { ...hostile, [OBJECT]: { snapshotFrequency: { value: ATTACKS[2] } } });
      await report({ ...hostile, [OBJECT]: mirror, securityAgent: { configuration } });
      const watched = await show(page);
      const { tab } = watched;
      await select(tab, 'Twin');
      await tab.locator('.reported bdi', { hasText: ATTACKS[0] }).waitFor();
      await tab.locator('.reported bdi', { hasText: BIDI_SHOWN }).waitFor();
      await tab.getByText('The whole twin as JSON').click();
      const shown = await textOf(tab.getByRole('region', { name: 'Reported properties as JSON' }));
      for (const text of ATTACKS) assert.ok(shown.includes(JSON.stringify(text)), text);
      assert.ok(shown.includes('\\u202efdp'));
      assert.equal(await tab.locator('main img, main script, main style, main a').count(), 0);
      await assertHarmless(watched, page);
    });

    it('keeps a fixed number of events and rows for any input', async () => {
      const watched = await show(page);
      const { tab } = watched;
      const sendTen = async (first: number) => {
        for (let number = first; number < first + 10; number++) {
          const Events = Array.from({ length: 200 }, (_, index) => start(`command ${number}-${index}`));
          await send(hub, client, { Events });
        }
      };
      // Not more at a time than the feed sends at once.
      await sendTen(0);
      await tab.getByText('2,000 events', { exact: true }).waitFor();
      await sendTen(10);
      await tab.getByText('3,000 events', { exact: true }).waitFor();
      await tab.locator('.events .line', { hasText: 'command 19-199' }).waitFor();
      assert.equal(await tab.locator('.events .row').count(), 200);
      await tab.getByRole('button', { name: 'Show more' }).click();
      assert.equal(await tab.locator('.events .row').count(), 400);
      await tab.getByRole('searchbox').first().fill('command 19-7');
      await tab.getByText('11 of 3,000 events', { exact: true }).waitFor();
      assert.equal(await tab.locator('.events .row').count(), 11);
      await assertHarmless(watched, page);
    });

    it('filters by kind, priority and module, and pauses', async () => {
      const watched = await show(page);
      const { tab } = watched;
      await send(hub, client, {
        Events: [start('one'), start('two'), event('Login', { UserName: 'eve', UserId: '7' })],
      });
      await tab.getByText('3 events', { exact: true }).waitFor();
      await tab.getByRole('checkbox', { name: /Login/ }).check();
      await tab.getByText('1 of 3 events', { exact: true }).waitFor();
      await tab.getByRole('checkbox', { name: /Login/ }).uncheck();
      await tab.getByRole('combobox', { name: 'Priority' }).selectOption('Low');
      await tab.getByText('No event matches the filter.').waitFor();
      await tab.getByRole('combobox', { name: 'Priority' }).selectOption('High');
      await tab.getByRole('button', { name: 'Pause' }).click();
      await send(hub, client, { Events: [start('three')] });
      await tab.getByText('4 events · paused, 1 new').waitFor();
      assert.equal(await tab.locator('.events .row').count(), 3);
      await tab.getByRole('button', { name: 'Pause' }).click();
      await tab.locator('.events .line', { hasText: 'three' }).waitFor();
      hub.addModule({ deviceId: 'another', moduleId: MODULE });
      await tab.getByRole('combobox', { name: 'Module' }).selectOption(`another/${MODULE}`);
      await tab.getByText('No event matches the filter.').waitFor();
      await assertHarmless(watched, page);
    });

    it('sorts alerts by severity, and shows each once, in its latest state', async () => {
      const watched = await show(page);
      const { tab } = watched;
      for (const Severity of ['Low', 'Critical', 'Medium', 'High'])
        await send(hub, client, { Events: [alert({ Severity, AlertId: Severity, RuleTitle: `${Severity} rule` })] });
      await send(hub, client, {
        Events: [alert({ Severity: 'Low', AlertId: 'Low', RuleTitle: 'Low rule', Count: 12 })],
      });
      await tab.locator('.alerts .line', { hasText: '×12' }).waitFor();
      const titles = await tab.locator('.alerts .line b').allTextContents();
      assert.deepEqual(titles, ['Critical rule', 'High rule', 'Medium rule', 'Low rule']);
      assert.match(await textOf(tab.getByRole('tab', { name: /Activity/ })), /4/);
      await assertHarmless(watched, page);
    });

    it('charts events, bytes and blocks of each minute, and has them as a table', async () => {
      const watched = await show(page);
      const { tab } = watched;
      await send(hub, client, { Events: [start('x'.repeat(9_000)), alert()] });
      await tab.locator('.picture rect.start').first().waitFor();
      await tab.locator('.picture rect.alert').first().waitFor();
      for (const [name, wanted] of [
        ['Bytes', /^Bytes .* at most [\d.]+ KB,/],
        ['4-KB units', /^4-KB units .* at most 3,/],
      ] as const) {
        await tab.locator('.segments').getByText(name, { exact: true }).click();
        await tab.getByRole('img', { name: wanted }).waitFor();
      }
      await tab.getByText('As a table').click();
      assert.match(await textOf(tab.locator('.traffic tbody')), /ProcessCreate 1, SecurityAlert 1/);
      await assertHarmless(watched, page);
    });

    for (const colorScheme of ['light', 'dark'] as const) {
      it(`has enough contrast in every text, and fits a phone, in ${colorScheme}`, async () => {
        for (const severity of ['Critical', 'High', 'Medium', 'Low', 'Informational'])
          await send(hub, client, {
            Events: [
              alert({ Severity: severity, AlertId: severity, CommandLine: 'x'.repeat(390) }),
              start('y'.repeat(2_000)),
            ],
          });
        hub.patchDesired(DEVICE, MODULE, { [OBJECT]: { snapshotFrequency: { value: 'PT1H' } } });
        hub.faults.inject({ kind: 'twinSilence' });
        const watched = await show(page, { ...PHONE, colorScheme });
        const { tab } = watched;
        await tab.locator('.alerts summary').first().click();
        await tab.locator('.events summary').first().click();
        await tab.locator('.events pre').getByText('"Events"').waitFor();
        for (const name of TABS) {
          await tab.locator(`#tab-${name}`).click();
          if (name === 'twin') {
            await tab
              .getByRole('row', { name: /^lowPriorityMessageFrequency/ })
              .getByRole('textbox')
              .fill('soon');
            await tab.getByText('1 fault: the agent would apply nothing.').first().waitFor();
            await tab.getByText('The whole twin as JSON').click();
          }
          assert.deepEqual(await faintTexts(tab), [], name);
          const [content, width] = (await tab.evaluate(
            '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
          )) as [number, number];
          assert.ok(content <= width, `${name} is ${content} wide on a screen of ${width}`);
        }
        const back = await tab.evaluate('getComputedStyle(document.body).backgroundColor');
        const [red = 0] = String(back).match(/\d+/g)?.map(Number) ?? [];
        assert.equal(red > 128, colorScheme === 'light');
      });
    }

    it('explains a wrong or missing token, and shows no data', async () => {
      await send(hub, client, { Events: [start('secret')] });
      const { origin } = new URL(page.address);
      for (const [address, said] of [
        [`${origin}/`, 'has no token'],
        [`${origin}/#wrong`, 'is wrong'],
      ] as const) {
        const watched = await openTab(browser, address);
        tabs.push(watched);
        await watched.tab.getByRole('alert').getByText(said).waitFor();
        assert.ok(!(await watched.tab.content()).includes('secret'));
      }
    });

    describe('and another site', () => {
      let site: Server;
      let origin: string;

      beforeEach(async () => {
        site = createServer((_request, response) => {
          response.setHeader('content-type', 'text/html');
          response.end('<!doctype html><title>Another site</title><iframe></iframe>');
        });
        site.listen(0, '127.0.0.1');
        await once(site, 'listening');
        origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
      });
      afterEach(() => {
        site.closeAllConnections();
        site.close();
      });

      /** What a script of a page at `from` gets, and does, with the token. */
      const attack = async (from: string) => {
        const watched = await openTab(browser, from);
        tabs.push(watched);
        const target = new URL('/', page.address).href;
        const headers = { authorization: `Bearer ${tokenOf(page)}`, 'content-type': 'application/json' };
        const read = `fetch('${target}api/stream', { headers: ${JSON.stringify(headers)} }).then((r) => r.text(), () => 'nothing')`;
        const body = JSON.stringify({ kind: 'twinSilence' });
        const write = `fetch('${target}api/fault', ${JSON.stringify({ method: 'POST', headers, body })}).then((r) => r.status, () => 'nothing')`;
        const simple = `fetch('${target}api/fault', ${JSON.stringify({ method: 'POST', mode: 'no-cors', body })}).then(() => 'sent', () => 'nothing')`;
        const answers = [await watched.tab.evaluate(read), await watched.tab.evaluate(write)];
        await watched.tab.evaluate(simple);
        return answers;
      };

      it('gets and changes nothing, even if it knows the token', async () => {
        assert.deepEqual(await attack(origin), ['nothing', 'nothing']);
        assert.deepEqual(hub.faults.active(), []);
      });

      it('rejects requests under a host name that resolves to this machine', async () => {
        assert.deepEqual(await attack(`http://${REBOUND}:${(site.address() as AddressInfo).port}/`), [
          'nothing',
          'nothing',
        ]);
        const watched = await openTab(browser, `http://${REBOUND}:${portOf(page)}/#${tokenOf(page)}`);
        tabs.push(watched);
        assert.match(await textOf(watched.tab.locator('body')), /The Host header must be/);
        assert.deepEqual(hub.faults.active(), []);
      });
    });
  });
});
