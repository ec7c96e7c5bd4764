import type { RestRoute } from './rest-call.ts';
import { DEVICE_ROUTES } from './rest-devices.ts';
import { METHOD_ROUTES } from './rest-methods.ts';
import { MODULE_ROUTES } from './rest-modules.ts';
import { QUERY_ROUTES } from './rest-query.ts';
import { TWIN_ROUTES } from './rest-twins.ts';

/** `/devices/query` comes before `/devices/{deviceId}`. */
const ROUTES: readonly RestRoute[] = [
  ...QUERY_ROUTES,
  ...DEVICE_ROUTES,
  ...MODULE_ROUTES,
  ...TWIN_ROUTES,
  ...METHOD_ROUTES,
];

/** A route for a path, and the values of its `{…}` parts. */
export interface RouteMatch {
  readonly route: RestRoute;
  readonly parameters: readonly string[];
}

/** The routes for a path, for any method. @param decoded segments; the SDK ends `/devices/` with an empty one */
export function routesOf(decoded: readonly string[]): RouteMatch[] {
  const path = decoded.at(-1) === '' ? decoded.slice(0, -1) : decoded;
  return ROUTES.flatMap((route) => {
    const pattern = route.path.split('/').slice(1);
    const isMatch =
      pattern.length === path.length &&
      pattern.every((part, index) => (part.startsWith('{') ? path[index] !== '' : part === path[index]));
    return isMatch ? [{ route, parameters: path.filter((_, index) => pattern[index]?.startsWith('{')) }] : [];
  });
}
