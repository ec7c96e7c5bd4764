import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { type Clock, systemClock, TimeLimitError } from '../core/base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../core/base/duration.ts';
import type { TwinDocument, TwinSection } from '../core/contract/hub.ts';
import { hubNamesOf } from '../core/contract/hub-names.ts';
import { randomToken } from './access-token.ts';
import { CertificateAuthority } from './certificates.ts';
import type { Connection } from './connection.ts';
import type { ConnectionRecord } from './connection-log.ts';
import { ControlApi } from './control-api.ts';
import type { ControlledHub } from './control-call.ts';
import { Faults } from './faults.ts';
import { HubServers, type ServerName, type ServerOptions } from './hub-servers.ts';
import {
  type EmulatedDevice,
  type EmulatedModule,
  type IdentityId,
  type ModuleId,
  nameOf,
  type Status,
} from './identity.ts';
import type { ReceivedMessage } from './message-log.ts';
import type { MethodResult } from './method-calls.ts';
import { MqttServer } from './mqtt-server.ts';
import { type RegisteredDevice, type RegisteredModule, Registry, type WhichKey } from './registry.ts';
import { RequestHandler } from './request-handler.ts';
import type { RestHub, RestRequest } from './rest-api.ts';
import { type Policy, standardPolicies } from './rest-authorize.ts';
import type { RestMethodCall } from './rest-call.ts';
import type { ErrorForm } from './rest-errors.ts';
import { DESIRED_CHANGES, desiredChangeTopic, METHOD_CALLS } from './topics.ts';
import type { TwinChange } from './twin.ts';
import type { TwinOperation } from './twin-requests.ts';
import { waitFor } from './waiting.ts';

/** Default time limit of the `waitFor…` functions: a loaded machine may take long to start an agent. */
const PATIENCE = minutes(1);
const DEFAULT_HOST_NAME = 'emulator.azure-devices.net';

export interface EmulatorOptions extends ServerOptions {
  /** The hub's name; it need not resolve. Default `emulator.azure-devices.net`. */
  readonly hostName?: string;
  /** Issues the hub's server certificate; hubs that share one are trusted by the same clients. Default: a new one. */
  readonly certificateAuthority?: CertificateAuthority;
  /** PEM. Authorities whose certificates devices and modules may present. */
  readonly clientAuthorities?: readonly string[];
  /** Shared access policies whose tokens open the REST API. Default: the policies of a new hub, with random keys. */
  readonly policies?: readonly Policy[];
  /** Microsoft Entra tokens that open the REST API with all permissions. Default: none. */
  readonly bearerTokens?: readonly string[];
  /** How the REST API words its errors. Default `text`. */
  readonly errorForm?: ErrorForm;
  /** Port of the control API; 0 selects a free one. If omitted, there is no control API. */
  readonly controlPort?: number | undefined;
  readonly devices?: readonly EmulatedDevice[];
  /** Their devices are added with random keys, unless `devices` lists them. */
  readonly modules?: readonly EmulatedModule[];
  readonly clock?: Clock;
  /** How long after its expiry a token is still accepted. Real hubs allow some minutes; default 0. */
  readonly skewTolerance?: Duration;
}

/** A module's reported properties after a change. */
export interface ReportedChange extends ModuleId {
  readonly at: Date;
  readonly reported: TwinSection;
}

/**
 * A local IoT Hub for modules: MQTT over TLS, shared access signatures, telemetry, module twins and direct methods.
 * See README.md.
 *
 * Emits `message` (ReceivedMessage), `reported` (ReportedChange), `desired` (ModuleId), `connection` and `disconnection`
 * (ConnectionRecord), and `restRequest` (RestRequest).
 */
export class HubEmulator extends EventEmitter implements ControlledHub {
  /** What connection strings and other services give as its name: one of its names, which may be changed to another. */
  hostName: string;
  /** Issued the hub's server certificate. */
  readonly certificateAuthority: CertificateAuthority;
  /** The root that clients must trust. */
  readonly caPem: string;
  readonly faults: Faults;
  /** The shared access policies. */
  readonly policies: readonly Policy[];
  readonly #clock: Clock;
  readonly #registry = new Registry();
  readonly #handler: RequestHandler;
  #servers: HubServers | undefined;
  #mqttServer: MqttServer | undefined;
  #control: ControlApi | undefined;
  /** Authorizes requests to the control API and to the page. */
  readonly controlToken = randomToken();

  private constructor(certificateAuthority: CertificateAuthority, options: EmulatorOptions) {
    super();
    this.setMaxListeners(0);
    this.certificateAuthority = certificateAuthority;
    this.caPem = certificateAuthority.rootPem;
    this.hostName = options.hostName ?? DEFAULT_HOST_NAME;
    this.#clock = options.clock ?? systemClock;
    this.faults = new Faults(this.#clock);
    this.policies = options.policies ?? standardPolicies(() => randomBytes(32).toString('base64'));
    for (const pem of options.clientAuthorities ?? []) this.addClientAuthority(pem);
    for (const device of options.devices ?? []) this.addDevice(device);
    for (const module of options.modules ?? []) this.addModule(module);
    this.#handler = new RequestHandler({
      hostName: this.hostName,
      registry: this.#registry,
      faults: this.faults,
      clock: this.#clock,
      skewTolerance: options.skewTolerance ?? milliseconds(0),
      events: this,
    });
  }

  static async start(options: EmulatorOptions = {}): Promise<HubEmulator> {
    const hub = new HubEmulator(options.certificateAuthority ?? (await CertificateAuthority.create()), options);
    const names = [hub.hostName, ...Object.values(hubNamesOf(hub.hostName)), 'localhost'];
    const certificate = await hub.certificateAuthority.issueServer([...new Set(names)]);
    try {
      hub.#mqttServer = await MqttServer.open(hub.#handler, hub.#clock);
      const parts = { mqttServer: hub.#mqttServer, restHub: hub.#restHub(options), faults: hub.faults };
      hub.#servers = await HubServers.open(options, certificate, parts);
      if (options.controlPort !== undefined)
        hub.#control = await ControlApi.open(options.controlPort, hub, hub.controlToken);
      return hub;
    } catch (error) {
      await hub.stop(); // a port is in use
      throw error;
    }
  }

  get port(): number {
    return this.#servers?.port('mqtt') ?? 0;
  }

  /** Port of the REST API. */
  get restPort(): number {
    return this.#servers?.port('rest') ?? 0;
  }

  /** Port of MQTT over WebSocket; the path is `/$iothub/websocket`. */
  get webSocketPort(): number {
    return this.#servers?.port('mqttWebSocket') ?? 0;
  }

  get controlPort(): number | undefined {
    return this.#control?.port;
  }

  /** Messages received, oldest first. */
  get messages(): readonly ReceivedMessage[] {
    return this.#handler.messages.all;
  }

  /** Connection attempts, oldest first. */
  get connections(): readonly ConnectionRecord[] {
    return this.#handler.connections.all;
  }

  /** Twin requests, oldest first. A real hub bills each. */
  get twinOperations(): readonly TwinOperation[] {
    return this.#handler.twinOperations;
  }

  /** Requests to the REST API, oldest first. */
  get restRequests(): readonly RestRequest[] {
    return this.#servers?.rest.requests ?? [];
  }

  get modules(): readonly (ModuleId & { connected: boolean })[] {
    return this.#registry.modules.map(({ deviceId, moduleId }) => {
      return { deviceId, moduleId, connected: this.#handler.live.has(nameOf({ deviceId, moduleId })) };
    });
  }

  /** The registered devices. */
  get devices(): readonly RegisteredDevice[] {
    return this.#registry.devices;
  }

  getDevice(deviceId: string): RegisteredDevice | undefined {
    return this.#registry.device(deviceId);
  }

  getModule(deviceId: string, moduleId: string): RegisteredModule | undefined {
    return this.#registry.module({ deviceId, moduleId });
  }

  hasModule(deviceId: string, moduleId: string): boolean {
    return this.getModule(deviceId, moduleId) !== undefined;
  }

  /** The modules of a device. */
  modulesOf(deviceId: string): readonly RegisteredModule[] {
    return this.#registry.modulesOf(deviceId);
  }

  /**
   * Adds a device, by default with random keys, or replaces credential and status of an existing one.
   *
   * @throws RangeError for an invalid id or credential
   */
  addDevice(device: EmulatedDevice): RegisteredDevice {
    return this.#registry.addDevice(device);
  }

  /** Removes a device with its modules, and closes their connections. @returns whether it existed */
  removeDevice(deviceId: string): boolean {
    this.disconnect(deviceId, undefined, 'the device was removed');
    return this.#registry.removeDevice(deviceId);
  }

  /**
   * Adds a module with an empty twin, or replaces credential and status of an existing one; connections are kept. A
   * missing device is added with random keys.
   *
   * @throws RangeError for an invalid id or credential
   */
  addModule(module: EmulatedModule): RegisteredModule {
    return this.#registry.addModule(module);
  }

  /** Removes a module and its twin, and closes its connection. @returns whether it existed */
  removeModule(deviceId: string, moduleId: string): boolean {
    this.disconnect(deviceId, moduleId, 'the module was removed');
    return this.#registry.removeModule({ deviceId, moduleId });
  }

  /** Disabling closes the connections of the device and its modules, and prevents new ones. @throws RangeError */
  setStatus(status: Status, deviceId: string, moduleId?: string): void {
    this.#registry.setStatus({ deviceId, moduleId }, status);
    if (status === 'disabled')
      this.disconnect(deviceId, moduleId, `the ${moduleId === undefined ? 'device' : 'module'} was disabled`);
  }

  /**
   * Replaces keys of a device or a module with random ones, and closes the connections that they might have opened.
   *
   * @throws RangeError if the identity does not exist or has no keys
   */
  regenerateKeys(
    { deviceId, moduleId }: IdentityId,
    which: WhichKey = 'both',
  ): { readonly primaryKey: string; readonly secondaryKey: string } {
    const { primaryKey, secondaryKey } = this.#registry.regenerateKeys({ deviceId, moduleId }, which);
    if (moduleId !== undefined) this.disconnect(deviceId, moduleId, 'its keys were regenerated');
    return { primaryKey, secondaryKey };
  }

  /**
   * Registers an authority, root or intermediate: devices and modules whose credential is `certificateAuthority` may
   * present a certificate whose chain ends there.
   *
   * @throws RangeError if the certificate is not that of an authority
   */
  addClientAuthority(pem: string): void {
    this.#registry.addAuthority(pem);
  }

  removeClientAuthority(pem: string): void {
    this.#registry.removeAuthority(pem);
  }

  /** Closes the connection of a module, or of all modules of a device. The client may reconnect immediately. */
  disconnect(deviceId: string, moduleId?: string, reason = 'closed by the test'): void {
    for (const connection of this.#handler.live.values()) {
      const { module } = connection;
      if (module.deviceId === deviceId && (moduleId ?? module.moduleId) === module.moduleId) connection.close(reason);
    }
  }

  /**
   * A connection string for clients on this machine, which must also trust `caPem`.
   *
   * @throws RangeError if the module does not exist or has no keys
   */
  connectionString(deviceId: string, moduleId: string): string {
    const credential = this.getModule(deviceId, moduleId)?.credential;
    if (credential === undefined) throw new RangeError(`Module ${nameOf({ deviceId, moduleId })} does not exist.`);
    if (credential.type !== 'sas') throw new RangeError(`Module ${nameOf({ deviceId, moduleId })} has no keys.`);
    const fields = [`HostName=${this.hostName}`, `DeviceId=${deviceId}`, `ModuleId=${moduleId}`];
    return [...fields, `SharedAccessKey=${credential.primaryKey}`, `GatewayHostName=localhost:${this.port}`].join(';');
  }

  /**
   * A connection string for service SDKs on this machine, which must also trust `caPem` and connect to localhost:`restPort`.
   *
   * @throws RangeError if there is no such policy
   */
  serviceConnectionString(policy = 'iothubowner'): string {
    const key = this.policies.find(({ name }) => name === policy)?.primaryKey;
    if (key === undefined) throw new RangeError(`The hub has no policy ${policy}.`);
    return `HostName=${this.hostName};SharedAccessKeyName=${policy};SharedAccessKey=${key}`;
  }

  /** A copy of the twin. @throws RangeError if the module does not exist */
  twin(deviceId: string, moduleId: string): TwinDocument {
    return this.#registry.twinOf({ deviceId, moduleId }).document();
  }

  /** Merges into the twin of a device, which only the service sees: `{ tags, desired }`. @throws TwinError; RangeError */
  patchDeviceTwin(deviceId: string, change: TwinChange): void {
    this.#registry.twinOfDevice(deviceId).patch(change);
  }

  /** Merges into the tags of a module. @throws TwinError without a change; RangeError */
  patchTags(deviceId: string, moduleId: string, tags: Readonly<Record<string, unknown>>): void {
    this.#registry.twinOf({ deviceId, moduleId }).patch({ tags });
  }

  /** The tags of a module. @throws RangeError if the module does not exist */
  tags(deviceId: string, moduleId: string): Readonly<Record<string, unknown>> {
    return structuredClone(this.#registry.twinOf({ deviceId, moduleId }).tags);
  }

  /** Changes reported properties as the module does. @throws TwinError without a change; RangeError */
  patchReported(deviceId: string, moduleId: string, patch: Readonly<Record<string, unknown>>): void {
    const twin = this.#registry.twinOf({ deviceId, moduleId });
    twin.patchReported(patch);
    this.emit('reported', { at: this.#clock.now(), deviceId, moduleId, reported: twin.document().reported });
  }

  /** Merges (RFC 7396), and notifies the module if it has subscribed. @throws TwinError without a change; RangeError */
  patchDesired(deviceId: string, moduleId: string, patch: Readonly<Record<string, unknown>>): void {
    const change = this.#registry.twinOf({ deviceId, moduleId }).patchDesired(patch);
    this.emit('desired', { deviceId, moduleId } satisfies ModuleId);
    this.#notify(deviceId, moduleId, change);
  }

  /** Replaces all desired properties, and notifies the module. @throws TwinError without a change; RangeError */
  replaceDesired(deviceId: string, moduleId: string, properties: Readonly<Record<string, unknown>>): void {
    const change = this.#registry.twinOf({ deviceId, moduleId }).replaceDesired(properties);
    this.emit('desired', { deviceId, moduleId } satisfies ModuleId);
    this.#notify(deviceId, moduleId, change);
  }

  /** Sends the module a notification without changing the twin: a late, repeated or false one. */
  sendDesiredChange(deviceId: string, moduleId: string, change: TwinSection): void {
    this.#notify(deviceId, moduleId, change);
  }

  /**
   * Calls a direct method of a module, and resolves with its answer, even if its status is an error.
   *
   * @param limit response time-out, from 5 to 300 s
   * @throws MethodError if the module is not connected or doesn't answer in time; RangeError if it does not exist
   */
  async invokeMethod(
    deviceId: string,
    moduleId: string,
    name: string,
    payload?: unknown,
    limit: Duration = PATIENCE,
  ): Promise<MethodResult> {
    this.#registry.twinOf({ deviceId, moduleId });
    return this.#handler.methods.call(this.#handler.live.get(nameOf({ deviceId, moduleId })), { name, payload, limit });
  }

  clearMessages(): void {
    this.#handler.messages.clear();
  }

  /** Resolves with the first matching message, among those received before and after the call. */
  waitForMessage(predicate: (message: ReceivedMessage) => boolean, limit = PATIENCE): Promise<ReceivedMessage> {
    return this.#waitFor('message', this.messages, predicate, limit);
  }

  /** Resolves with the first matching reported properties, among the current ones and later changes. */
  async waitForReported(
    predicate: (reported: TwinSection, module: ModuleId) => boolean,
    limit = PATIENCE,
  ): Promise<TwinSection> {
    const now = this.#registry.modules.map(({ deviceId, moduleId }) => {
      return { at: this.#clock.now(), deviceId, moduleId, reported: this.twin(deviceId, moduleId).reported };
    });
    const matches = ({ reported, deviceId, moduleId }: ReportedChange) => predicate(reported, { deviceId, moduleId });
    return (await this.#waitFor('reported', now, matches, limit)).reported;
  }

  /** Resolves with the first matching request to the REST API, among those before and after the call. */
  waitForRestRequest(predicate: (request: RestRequest) => boolean, limit = PATIENCE): Promise<RestRequest> {
    return this.#waitFor('restRequest', this.restRequests, predicate, limit);
  }

  /** Resolves with the first matching connection attempt, among those before and after the call. */
  waitForConnection(predicate: (record: ConnectionRecord) => boolean, limit = PATIENCE): Promise<ConnectionRecord> {
    return this.#waitFor('connection', this.connections, predicate, limit);
  }

  /** Resolves when the module is connected and has subscribed to desired changes. */
  async waitForSubscription(deviceId: string, moduleId: string, limit = PATIENCE): Promise<void> {
    const name = nameOf({ deviceId, moduleId });
    const live = [...this.#handler.live.values()];
    const listens = (connection: Connection) =>
      nameOf(connection.module) === name && connection.isSubscribedTo(DESIRED_CHANGES);
    await this.#waitFor('subscription', live, listens, limit);
  }

  get isOnline(): boolean {
    return this.#servers?.isOpen ?? false;
  }

  /**
   * Closes all connections and the servers, or one of them, so that new connections are refused. Messages and twins are
   * kept.
   */
  async offline(server?: ServerName): Promise<void> {
    for (const connection of this.#handler.live.values()) {
      if (server === undefined || server === connection.transport) connection.closedBecause ??= 'the hub went offline';
    }
    await this.#servers?.shut(server);
  }

  /** Listens on the same ports again. */
  async online(): Promise<void> {
    await this.#servers?.open();
  }

  async stop(): Promise<void> {
    await this.#control?.close();
    await this.offline();
    await this.#servers?.close();
    await this.#mqttServer?.close();
  }

  #restHub({ bearerTokens = [], errorForm = 'text', skewTolerance = milliseconds(0) }: EmulatorOptions): RestHub {
    return {
      hostName: this.hostName,
      registry: this.#registry,
      policies: this.policies,
      bearerTokens,
      faults: this.faults,
      clock: this.#clock,
      skewTolerance,
      errorForm,
      events: this,
      isConnected: (module) => this.#handler.live.has(nameOf(module)),
      disconnect: ({ deviceId, moduleId }, reason) => this.disconnect(deviceId, moduleId, reason),
      notify: ({ deviceId, moduleId }, change) => this.#notify(deviceId, moduleId, change),
      callMethod: (module, call) => this.#callMethod(module, call),
    };
  }

  /** A module that is not connected has `connectSeconds` to connect and to subscribe to direct methods. */
  async #callMethod(module: ModuleId, { connectSeconds, responseSeconds, ...call }: RestMethodCall) {
    const name = nameOf(module);
    const { live, methods } = this.#handler;
    const isReady = (connection: Connection) =>
      nameOf(connection.module) === name && connection.isSubscribedTo(METHOD_CALLS);
    const now = live.get(name);
    if (connectSeconds > 0 && (now === undefined || !isReady(now))) {
      await this.#waitFor('subscription', [], isReady, seconds(connectSeconds)).catch((error: unknown) => {
        if (!(error instanceof TimeLimitError)) throw error; // the call then says that the module is not connected
      });
    }
    return methods.call(live.get(name), { ...call, limit: seconds(responseSeconds) });
  }

  #notify(deviceId: string, moduleId: string, change: TwinSection): void {
    const connection = this.#handler.live.get(nameOf({ deviceId, moduleId }));
    if (connection === undefined || this.faults.trigger('desiredSilence') !== undefined) return;
    connection.send(DESIRED_CHANGES, desiredChangeTopic(change.$version), JSON.stringify(change));
  }

  #waitFor<T>(event: string, existing: readonly T[], predicate: (value: T) => boolean, limit: Duration): Promise<T> {
    return waitFor({ source: this, event, existing, clock: this.#clock }, predicate, limit);
  }
}
