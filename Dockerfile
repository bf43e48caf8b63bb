# Engine and model service in one image: docs/service.md#in-a-container
FROM node:22-bookworm AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc tsconfig.json LICENSE ./
COPY scripts scripts
COPY native native
COPY bin bin
COPY bench bench
COPY src src
COPY schemas schemas
COPY topologies topologies
COPY models models
COPY page page
# Compiles librdkafka, the addon over it, and the sources.
RUN npm ci && node scripts/assemble.js /image

FROM node:22-bookworm-slim
# What librdkafka is linked with. npm is of no use here.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libssl3 zlib1g \
 && rm -rf /var/lib/apt/lists/* /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /opt/yarn-*
COPY --from=build /image /opt/harrier
WORKDIR /opt/harrier
ENV NODE_ENV=production
USER 1000:1000
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["node", "/opt/harrier/bin/healthcheck.js"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "/opt/harrier/bin/harrier.js"]
CMD ["--help"]
