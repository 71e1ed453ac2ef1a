// Who may call as an owner: holders of a JWT signed with the owner's key. The three variables are set on the
// deployment; the embedded one sets them by itself from its own key pair. The keys may be a URL or a data: URI,
// so that an owner whose machines cannot be reached from outside needs no web server for them.
//
// All keys of the set are the same owner, because issuer and subject make the owner: two of them for a while are how a key
// is exchanged. Several people on one deployment need an identity provider (OIDC) that gives each a subject of their own.

import type { AuthConfig } from "convex/server";

export default {
  providers: [
    {
      type: "customJwt",
      issuer: process.env.OWNER_ISSUER!,
      jwks: process.env.OWNER_JWKS!,
      algorithm: "ES256",
      applicationID: process.env.OWNER_AUDIENCE!,
    },
  ],
} satisfies AuthConfig;
