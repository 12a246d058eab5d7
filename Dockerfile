# A node of Weft in a container: `docker build -t weft .`, then for instance
#   docker run -v /run/weft:/run/weft weft serve --memory 16GiB
# Its clients mount the same /run/weft. The first stage builds, the second has the library, the command and a C++ runtime.
FROM debian:12 AS build
COPY . /src
WORKDIR /src
RUN cmake/packages.sh \
    && cmake --preset release -DWEFT_TESTS=OFF -DCMAKE_INSTALL_LIBDIR=lib \
    && ninja -C build/release \
    && cmake --install build/release --strip --prefix /opt/weft

FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends libstdc++6 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/weft /usr/local
RUN ldconfig
ENTRYPOINT ["weft"]
CMD ["serve", "--memory", "1GiB"]
