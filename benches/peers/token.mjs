// Who may connect: the same check for every peer. It must never log a token.

import { createSecretKey } from "node:crypto";
import jwt from "jsonwebtoken";

const ALGORITHMS = ["HS256"];

/** A function from a token to whether it is signed, not expired, and says whose it is. */
export function verifier(secret) {
  // Made once: jsonwebtoken would make one of a string in every call.
  const key = createSecretKey(Buffer.from(secret));
  return (token) => {
    try {
      const claims = jwt.verify(token, key, { algorithms: ALGORITHMS });
      return typeof claims.sub === "string" && typeof claims.exp === "number";
    } catch {
      return false;
    }
  };
}

/** The query of a request's path, which needs no scheme and no host. */
export function query(path) {
  const at = path.indexOf("?");
  return new URLSearchParams(at < 0 ? "" : path.slice(at + 1));
}
