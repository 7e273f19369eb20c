import { Output, randomString, Services } from "~templates-utils";
import { Input } from "./meta";

export function generate(input: Input): Output {
  const services: Services = [];

  services.push({
    type: "app",
    data: {
      serviceName: input.appServiceName,
      source: { type: "image", image: input.appServiceImage },
      env: [
        `API_TOKEN=${input.apiToken || randomString(64)}`,
        `PUBLIC_URL=https://$(EASYPANEL_DOMAIN)`,
        `TRUSTED_PROXIES=10.0.0.0/8,172.16.0.0/12`,
      ].join("\n"),
      domains: [{ host: "$(EASYPANEL_DOMAIN)", port: 8000 }],
      mounts: [{ type: "volume", name: "data", mountPath: "/data" }],
      // Two of them on one volume would be one too many: the second refuses to start.
      deploy: { replicas: 1, zeroDowntime: false, capDrop: ["ALL"] },
    },
  });

  return { services };
}
