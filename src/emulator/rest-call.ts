import type { TwinSection } from '../core/contract/hub.ts';
import type { ModuleId } from './identity.ts';
import type { MethodResult } from './method-calls.ts';
import type { Registry } from './registry.ts';
import type { Right } from './rest-authorize.ts';

/** An answer without an error. */
export interface RestAnswer {
  readonly status: 200 | 201 | 204;
  readonly body?: unknown;
  /** Without quotation marks. */
  readonly etag?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The part of the hub that the routes need. */
export interface RestModules {
  readonly registry: Registry;
  isConnected(module: ModuleId): boolean;
  /** Closes the connection of a module, or those of all modules of a device. */
  disconnect(id: { readonly deviceId: string; readonly moduleId?: string }, reason: string): void;
  /** Notifies the module of changed desired properties, if it is connected. */
  notify(module: ModuleId, change: TwinSection): void;
  /** Calls a direct method; waits for the module to connect, as long as the caller allows. @throws MethodError */
  callMethod(module: ModuleId, call: RestMethodCall): Promise<MethodResult>;
}

export interface RestMethodCall {
  readonly name: string;
  readonly payload: unknown;
  readonly responseSeconds: number;
  readonly connectSeconds: number;
}

/** A request to a route. */
export interface RestCall {
  readonly hub: RestModules;
  /** The values of the path's `{…}` parts, in order. */
  readonly parameters: readonly string[];
  readonly query: URLSearchParams;
  header(name: string): string | undefined;
  /** @throws RestError if it is not JSON */
  readonly body: () => Promise<unknown>;
}

export interface RestRoute {
  readonly method: 'GET' | 'PUT' | 'PATCH' | 'POST' | 'DELETE';
  readonly path: string;
  readonly right: Right;
  /** Whether the device in the path may call it with its own token or certificate. */
  readonly isOpenToDevice?: boolean;
  readonly run: (call: RestCall) => RestAnswer | Promise<RestAnswer>;
}
